/** A browser's part, for tests: it asks for HTML, keeps cookies, sends forms, and follows nothing by itself. */
import assert from 'node:assert/strict';

export interface Page {
  status: number;
  text: string;
  headers: Headers;
  location: string;
}

export class Browser {
  readonly cookies = new Map<string, string>();
  readonly #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  async go(path: string, form?: Record<string, string>): Promise<Page> {
    const response = await fetch(new URL(path, this.#origin), {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: {
        accept: 'text/html,application/xhtml+xml',
        cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
      },
      ...(form ? { body: new URLSearchParams(form) } : {}),
    });
    for (const cookie of response.headers.getSetCookie()) {
      assert.match(cookie, /^__Host-.*; Path=\/; Secure; HttpOnly; SameSite=Lax/);
      const [name = '', value = ''] = (cookie.split(';')[0] ?? '').split('=');
      if (value === '') this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const { status, headers } = response;
    return { status, headers, text: await response.text(), location: headers.get('location') ?? '' };
  }

  /** The token of the form on the page. */
  async form(path = '/login'): Promise<string> {
    return hiddenFields(await this.go(path))['token'] ?? '';
  }

  async login(username: string, password: string): Promise<Page> {
    return this.go('/login.do', { token: await this.form(), username, password });
  }

  /** Sends the form of a page with what a person adds. */
  send(page: Page, action: string, fields: Record<string, string>): Promise<Page> {
    return this.go(action, { ...hiddenFields(page), ...fields });
  }
}

export function hiddenFields({ text }: Page): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [, name = '', value = ''] of text.matchAll(/<input type="hidden" name="([a-z_]+)" value="([^"]*)">/g)) {
    fields[name] = value.replaceAll('&#39;', "'").replaceAll('&quot;', '"').replaceAll('&amp;', '&');
  }
  return fields;
}
