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

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/**
 * Nothing but the page's own style, and forms to nobody else. Browsers hold the answer's redirect to it, too: the place that a
 * form leads to in the end is named.
 */
export function contentSecurityPolicy(leadsTo?: string): string {
  return [
    "default-src 'none'",
    `style-src 'sha256-${STYLE_HASH}'`,
    `form-action 'self'${leadsTo === undefined ? '' : ` ${sourceOf(leadsTo)}`}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; ');
}

/** Programs have schemes of their own, and those have no origin. */
function sourceOf(uri: string): string {
  const { origin, protocol } = new URL(uri);
  return origin === 'null' ? protocol : origin;
}

export function loginPage(fields: {
  token: string;
  next: string;
  /** Other places to log in. */
  providers: { href: string; text: string }[];
  problem?: string;
}): string {
  const others = fields.providers
    .map(({ href, text }) => `<p><a href="${escaped(href)}">Log in with ${escaped(text)}</a></p>\n`)
    .join('');
  const problem = fields.problem === undefined ? '' : `<p class="problem" role="alert">${escaped(fields.problem)}</p>`;
  return page(
    'Log in',
    `${problem}
<form method="post" action="/login.do">
<input type="hidden" name="token" value="${escaped(fields.token)}">
<input type="hidden" name="next" value="${escaped(fields.next)}">
<label for="username">Username</label>
<input id="username" name="username" autocomplete="username" autofocus required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button>
</form>
${others}`,
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

export function consentPage(fields: {
  token: string;
  /** The query that the client sent. */
  request: string;
  client: string;
  username: string;
  scopes: string[];
}): string {
  const scopes = fields.scopes.map((scope) => `<li><code>${escaped(scope)}</code></li>`).join('\n');
  return page(
    'Allow access',
    `<p>${escaped(fields.client)} wants to act for ${escaped(fields.username)} with these rights:</p>
<ul>
${scopes}
</ul>
<form method="post" action="/oauth/authorize">
<input type="hidden" name="token" value="${escaped(fields.token)}">
<input type="hidden" name="request" value="${escaped(fields.request)}">
<button name="user_oauth_approval" value="true">Allow</button>
<button name="user_oauth_approval" value="false">Refuse</button>
</form>`,
  );
}

export function logoutPage(fields: { token: string; redirect?: string; clientId?: string }): string {
  const hidden = (name: string, value: string | undefined) =>
    value === undefined ? '' : `<input type="hidden" name="${name}" value="${escaped(value)}">\n`;
  return page(
    'Log out',
    `<form method="post" action="/logout.do">
<input type="hidden" name="token" value="${escaped(fields.token)}">
${hidden('redirect', fields.redirect)}${hidden('client_id', fields.clientId)}<button>Log out</button>
</form>`,
  );
}

export function errorPage(problem: string): string {
  return page('This does not work', `<p class="problem" role="alert">${escaped(problem)}</p>`);
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
