/** `/oauth/authorize`: somebody logs in here, agrees, and the client gets a code for it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Clients } from '../clients.ts';
import type { Grants } from '../grants.ts';
import { queryOf } from '../scim/body.ts';
import { isForSsh, type SshCodesOptions, sendSshCode } from '../ssh-codes.ts';
import { UaaError } from '../uaa.ts';
import type { Account } from '../users.ts';
import { type Authorization, AuthorizationRefused, readAuthorization, redirectWith } from './authorization.ts';
import type { AuthorizationCodes } from './codes.ts';
import { cookieOf, formWithToken, SESSION, sendPage, sendProblem } from './forms.ts';
import { consentPage } from './pages.ts';
import { loginUrl } from './routes.ts';
import type { Session, Sessions } from './sessions.ts';

interface AuthorizeOptions {
  grants: Grants;
  clients: Clients;
  sessions: Sessions;
  codes: AuthorizationCodes;
  issuer: string;
  ssh: SshCodesOptions;
}

export function authorizeRoutes(app: FastifyInstance, options: AuthorizeOptions): void {
  const { grants, clients, sessions, issuer } = options;

  /** Who is logged in, or undefined. */
  const present = async (request: FastifyRequest): Promise<{ session: Session; account: Account } | undefined> => {
    const session = await sessions.find(cookieOf(request, SESSION));
    const account = session && (await grants.account(session.userId));
    return session && account && { session, account };
  };

  /** What goes wrong is told to the client where it is known, else to the person. */
  const telling = (handle: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>) =>
    async function told(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
      try {
        return await handle(request, reply);
      } catch (error) {
        if (error instanceof AuthorizationRefused) {
          const { code, message, state } = error;
          const answer = { error: code, error_description: message, state, iss: issuer };
          return reply.redirect(redirectWith(error.redirectUri, answer), 303);
        }
        if (error instanceof UaaError) return sendProblem(reply, error);
        throw error;
      }
    };

  const browser = telling(async (request, reply) => {
    const query = queryOf(request);
    const authorization = await readAuthorization(clients, query);
    const { prompt } = authorization;
    const silent = prompt.includes('none');
    const who = await present(request);
    if (!who || prompt.includes('login') || prompt.includes('select_account')) {
      if (silent) throw new AuthorizationRefused(authorization, 'login_required', 'Nobody is logged in');
      return reply.redirect(loginUrl(request, withoutLogin(query, prompt)), 303);
    }
    const scopes = scopesOf(grants, who.account, authorization);
    if (isApproved(authorization, who.session, scopes))
      return answer(options, reply, authorization, { ...who, scopes });
    if (silent) throw new AuthorizationRefused(authorization, 'consent_required', 'The user has not agreed to this');
    const { client, redirectUri } = authorization;
    const fields = { client: client.displayName ?? client.id, username: who.account.username, scopes };
    return sendPage(reply, (token) => consentPage({ ...fields, token, request: query.toString() }), redirectUri);
  });
  app.get('/oauth/authorize', (request, reply) =>
    isForSsh(request) ? sendSshCode(request, reply, options.ssh) : browser(request, reply),
  );

  app.post(
    '/oauth/authorize',
    telling(async (request, reply) => {
      const form = formWithToken(request);
      const query = new URLSearchParams(form.get('request') ?? '');
      const authorization = await readAuthorization(clients, query);
      const who = await present(request);
      if (!who) return reply.redirect(loginUrl(request, query), 303);
      if (form.get('user_oauth_approval') !== 'true') {
        throw new AuthorizationRefused(authorization, 'access_denied', 'The user has not agreed');
      }
      const scopes = scopesOf(grants, who.account, authorization);
      await sessions.approve(cookieOf(request, SESSION), authorization.client.id, scopes);
      return answer(options, reply, authorization, { ...who, scopes });
    }),
  );
}

function answer(
  { codes, issuer }: AuthorizeOptions,
  reply: FastifyReply,
  authorization: Authorization,
  { account, session, scopes }: { account: Account; session: Session; scopes: string[] },
): FastifyReply {
  const code = codes.issue({ authorization, userId: account.guid, scopes, authTime: session.authTime });
  const parameters = { code, state: authorization.state, iss: issuer };
  return reply.header('cache-control', 'no-store').redirect(redirectWith(authorization.redirectUri, parameters), 303);
}

/** Asked for a login, and after it no more. */
function withoutLogin(query: URLSearchParams, prompt: string[]): URLSearchParams {
  const rest = prompt.filter((word) => word !== 'login' && word !== 'select_account');
  const without = new URLSearchParams(query);
  if (rest.length === 0) without.delete('prompt');
  else without.set('prompt', rest.join(' '));
  return without;
}

function scopesOf(grants: Grants, account: Account, authorization: Authorization): string[] {
  const { client, scopes: asked } = authorization;
  const may = grants.allowed(account, client);
  const scopes = asked.length === 0 ? may : may.filter((scope) => asked.includes(scope));
  if (scopes.length > 0) return scopes;
  throw new AuthorizationRefused(authorization, 'invalid_scope', 'None of the requested scopes is allowed');
}

function isApproved({ client, prompt }: Authorization, session: Session, scopes: string[]): boolean {
  if (prompt.includes('consent')) return false;
  const { autoApprove } = client;
  if (autoApprove === true) return true;
  const given = new Set([...(autoApprove === false ? [] : autoApprove), ...(session.approved.get(client.id) ?? [])]);
  return scopes.every((scope) => given.has(scope));
}
