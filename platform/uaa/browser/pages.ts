/** The pages that people see: plain, without scripts. */
import { createHash } from 'node:crypto';

const STYLE = `
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 4rem auto; padding: 0 1rem; color: #222; }
  label { display: block; margin: 1rem 0 .25rem; }
  input { box-sizing: border-box; width: 100%; padding: .5rem; font: inherit; border: 1px solid #888; border-radius: 4px; }
  button { margin-top: 1.5rem; padding: .5rem 1.5rem; font: inherit; border: 0; border-radius: 4px; background: #135; color: #fff; }
  .code { font: 1.5rem/2 ui-monospace, monospace; letter-spacing: .1em; user-select: all; }
  .problem { padding: .5rem .75rem; border-left: 4px solid #b00; background: #fee; }
`;

/** Nothing but this page's own style, and forms to nobody else. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ');

export function loginPage(fields: { token: string; problem?: string }): string {
  const problem = fields.problem === undefined ? '' : `<p class="problem" role="alert">${escaped(fields.problem)}</p>`;
  return page(
    'Log in',
    `${problem}
<form method="post" action="/login.do">
<input type="hidden" name="token" value="${escaped(fields.token)}">
<label for="username">Username</label>
<input id="username" name="username" autocomplete="username" autofocus required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button>
</form>`,
  );
}

export function passcodePage(fields: { token: string; username: string; passcode: string }): string {
  return page(
    'Temporary authentication code',
    `<p>For ${escaped(fields.username)}, once, within five minutes:</p>
<p class="code">${escaped(fields.passcode)}</p>
<form method="post" action="/logout.do">
<input type="hidden" name="token" value="${escaped(fields.token)}">
<button>Log out</button>
</form>`,
  );
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${STYLE}</style></head>
<body>
<h1>${title}</h1>
${body}
</body>
</html>
`;
}

function escaped(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? '');
}
