/**
 * Logging in with a browser: for clients that have none (`cf login --sso` asks for the code that `/passcode` shows), and for those
 * that send people here and want a code back (`authorize.ts`).
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Clients } from '../clients.ts';
import type { Grants } from '../grants.ts';
import { queryOf } from '../scim/body.ts';
import { UaaError } from '../uaa.ts';
import { AuthorizationRefused, readAuthorization, sameRedirect } from './authorization.ts';
import { cookieOf, formWithToken, SESSION, sendPage, setCookie, wantsPage } from './forms.ts';
import { loginPage, logoutPage, passcodePage } from './pages.ts';
import type { Passcodes } from './passcodes.ts';
import type { Sessions } from './sessions.ts';

interface BrowserOptions {
  grants: Grants;
  clients: Clients;
  sessions: Sessions;
  passcodes: Passcodes;
  /** What `/login` answers to clients that want JSON. */
  info: () => unknown;
  /** The login server's URL. */
  login: string;
  /** Other places to log in. */
  providers: () => Promise<{ origin: string; text: string }[]>;
}

export function browserRoutes(app: FastifyInstance, options: BrowserOptions): void {
  const { grants, clients, sessions, passcodes, info } = options;
  const links = async (next: string) =>
    (await options.providers()).map(({ origin, text }) => ({
      text,
      // At the one host that providers send people back to: cookies are of one host.
      href: `${options.login}/login/external/${encodeURIComponent(origin)}?${new URLSearchParams({ next }).toString()}`,
    }));

  app.get('/login', async (request, reply) => {
    if (!wantsPage(request)) return info();
    const next = nextOf(queryOf(request));
    const providers = await links(next);
    return sendPage(reply, (token) => loginPage({ token, next, providers }), await redirectOf(clients, next));
  });

  app.post('/login.do', async (request, reply) => {
    const form = formWithToken(request);
    const next = nextOf(form);
    try {
      const account = await grants.user(form.get('username') ?? '', form.get('password') ?? '');
      await sessions.close(cookieOf(request, SESSION));
      setCookie(reply, SESSION, await sessions.open(account.guid));
      return reply.redirect(next, 303);
    } catch (error) {
      if (!(error instanceof UaaError)) throw error;
      const providers = await links(next);
      const render = (token: string) => loginPage({ token, next, providers, problem: error.message });
      return sendPage(reply.code(error.status), render, await redirectOf(clients, next));
    }
  });

  app.get('/passcode', async (request, reply) => {
    const session = await sessions.find(cookieOf(request, SESSION));
    const account = session && (await grants.account(session.userId));
    if (!account) return reply.redirect('/login', 303);
    const passcode = await passcodes.issue(account.guid);
    return sendPage(reply, (token) => passcodePage({ token, username: account.username, passcode }));
  });

  // A link or an image of another site must not log anybody out: the page asks.
  app.get('/logout.do', async (request, reply) => {
    const to = await afterLogout(clients, queryOf(request));
    return sendPage(reply, (token) => logoutPage({ token, ...to }), to.redirect);
  });

  app.post('/logout.do', async (request, reply) => {
    const form = formWithToken(request);
    await sessions.close(cookieOf(request, SESSION));
    setCookie(reply, SESSION, '');
    return reply.redirect((await afterLogout(clients, form)).redirect ?? '/login', 303);
  });
}

const PASSCODE = '/passcode';

/** Where a login leads: to a page of this host and nowhere else. */
export function nextOf(fields: URLSearchParams): string {
  const next = fields.get('next') ?? '';
  return /^\/oauth\/authorize\?[\x21-\x7e]{1,8000}$/.test(next) ? next : PASSCODE;
}

/** Where a login leads in the end; undefined where nobody is sent away. */
async function redirectOf(clients: Clients, next: string): Promise<string | undefined> {
  if (next === PASSCODE) return undefined;
  try {
    return (await readAuthorization(clients, new URLSearchParams(next.slice(next.indexOf('?') + 1)))).redirectUri;
  } catch (error) {
    if (error instanceof AuthorizationRefused) return error.redirectUri;
    if (error instanceof UaaError) return undefined;
    throw error;
  }
}

/** UAA's names of the fields, or OpenID Connect's (RP-Initiated Logout 1.0). An address that is not the client's is left out. */
async function afterLogout(
  clients: Clients,
  fields: URLSearchParams,
): Promise<{ redirect?: string; clientId?: string }> {
  const redirect = fields.get('post_logout_redirect_uri') ?? fields.get('redirect');
  const clientId = fields.get('client_id');
  const client = redirect === null || clientId === null ? undefined : await clients.find(clientId);
  if (redirect === null || !client?.redirectUris.some((known) => sameRedirect(known, redirect))) return {};
  return { redirect, clientId: client.id };
}

export function loginUrl(request: FastifyRequest, query: URLSearchParams): string {
  const path = request.url.split('?')[0] ?? '';
  return `/login?${new URLSearchParams({ next: `${path}?${query.toString()}` }).toString()}`;
}
