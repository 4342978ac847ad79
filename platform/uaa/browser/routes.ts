/**
 * Logging in with a browser, for clients that have none: `cf login --sso` asks for the code that `/passcode` shows.
 * A form is taken only with the token that its page set as a cookie too: another site can make a browser send the form,
 * and neither read nor set the cookie.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Grants } from '../grants.ts';
import { UaaError } from '../uaa.ts';
import { CONTENT_SECURITY_POLICY, loginPage, passcodePage } from './pages.ts';
import type { Sessions } from './sessions.ts';

const SESSION = '__Host-uaa-session';
const TOKEN = '__Host-uaa-token';

interface BrowserOptions {
  grants: Grants;
  sessions: Sessions;
  /** What `/login` answers to clients that want JSON. */
  info: () => unknown;
}

export function browserRoutes(app: FastifyInstance, { grants, sessions, info }: BrowserOptions): void {
  app.get('/login', async (request, reply) => {
    if (!wantsPage(request)) return info();
    return sendPage(reply, (token) => loginPage({ token }));
  });

  app.post('/login.do', async (request, reply) => {
    const form = formWithToken(request);
    try {
      const account = await grants.user(form.get('username') ?? '', form.get('password') ?? '');
      setCookie(reply, SESSION, sessions.open(account.guid));
      return reply.redirect('/passcode', 303);
    } catch (error) {
      if (!(error instanceof UaaError)) throw error;
      return sendPage(reply.code(error.status), (token) => loginPage({ token, problem: error.message }));
    }
  });

  app.get('/passcode', async (request, reply) => {
    const userId = sessions.userOf(cookieOf(request, SESSION));
    const account = userId === undefined ? undefined : await grants.account(userId);
    if (!account) return reply.redirect('/login', 303);
    const passcode = sessions.passcode(account.guid);
    return sendPage(reply, (token) => passcodePage({ token, username: account.username, passcode }));
  });

  app.post('/logout.do', async (request, reply) => {
    formWithToken(request);
    sessions.close(cookieOf(request, SESSION));
    setCookie(reply, SESSION, '');
    return reply.redirect('/login', 303);
  });
}

/** Browsers name HTML; cf and other clients do not. */
function wantsPage(request: FastifyRequest): boolean {
  return (request.headers.accept ?? '').includes('text/html');
}

function sendPage(reply: FastifyReply, render: (token: string) => string): FastifyReply {
  const token = randomBytes(24).toString('base64url');
  setCookie(reply, TOKEN, token);
  return reply
    .header('content-security-policy', CONTENT_SECURITY_POLICY)
    .header('cache-control', 'no-store')
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer')
    .type('text/html; charset=utf-8')
    .send(render(token));
}

function formWithToken(request: FastifyRequest): URLSearchParams {
  const { body } = request;
  const form = body instanceof URLSearchParams ? body : new URLSearchParams();
  const sent = Buffer.from(form.get('token') ?? '');
  const own = Buffer.from(cookieOf(request, TOKEN) ?? '');
  if (own.length === 0 || sent.length !== own.length || !timingSafeEqual(sent, own)) {
    throw new UaaError('access_denied', 'The form has expired. Go back, load the page again, and send it anew.');
  }
  return form;
}

function cookieOf(request: FastifyRequest, name: string): string | undefined {
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [key, value] = part.trim().split('=', 2);
    if (key === name && value) return value;
  }
  return undefined;
}

/** `__Host-` binds it to this host and to TLS. An empty value removes it. */
function setCookie(reply: FastifyReply, name: string, value: string): void {
  const age = value === '' ? '; Max-Age=0' : '';
  reply.header('set-cookie', `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax${age}`);
}
