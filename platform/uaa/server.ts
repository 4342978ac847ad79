/** UAA's HTTP endpoints. */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Client } from '#cluster/client/client.ts';
import { authorizeRoutes } from './browser/authorize.ts';
import { AuthorizationCodes } from './browser/codes.ts';
import { browserRoutes } from './browser/routes.ts';
import { Passcodes } from './browser/passcodes.ts';
import { Sessions } from './browser/sessions.ts';
import { keepSweeping } from './browser/sweeping.ts';
import { clientRoutes } from './client-routes.ts';
import { Clients, type OwnClient } from './clients.ts';
import { Grants } from './grants.ts';
import { Guard } from './guard.ts';
import { rotateKeys, type SigningKey } from './keys.ts';
import type { OneTimeCodes } from './one-time-codes.ts';
import { externalGroupRoutes } from './providers/external-groups.ts';
import { externalLoginRoutes } from './providers/login.ts';
import { OidcProviders } from './providers/oidc.ts';
import { providerRoutes } from './providers/provider-routes.ts';
import { listProviders } from './providers/providers.ts';
import type { Revocations } from './revocations.ts';
import { revocationRoutes } from './revocation-routes.ts';
import { queryOf } from './scim/body.ts';
import { groupRoutes } from './scim/groups.ts';
import { userRoutes } from './scim/users.ts';
import { discoveryRoutes } from './discovery.ts';
import type { Tokens } from './tokens.ts';
import { UaaError } from './uaa.ts';

export interface UaaOptions {
  client: Client;
  tokens: Tokens;
  revoked: Revocations;
  sshCodes: OneTimeCodes;
  /** UAA's own URL and the login server's, as clients dial them. */
  urls: { uaa: string; login: string };
  /** Besides `cf`. */
  clients?: OwnClient[];
  now?: () => number;
  log?: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

const FORM_LIMIT = 64 * 1024;

export function createUaa(options: UaaOptions): FastifyInstance {
  const app = Fastify({ bodyLimit: FORM_LIMIT, forceCloseConnections: true });
  const { client, tokens, urls } = options;
  const clients = new Clients(client, options.clients ?? []);
  const sessions = new Sessions(client, options.now);
  const passcodes = new Passcodes(client, options.now);
  const stopSweeping = keepSweeping(
    () => Promise.all([sessions.sweep(), passcodes.sweep()]),
    (error) =>
      options.log?.('warn', 'Sessions of browsers that are over could not be taken away', { error: String(error) }),
  );
  app.addHook('onClose', async () => stopSweeping());
  const codes = new AuthorizationCodes(options.now);
  const oidc = new OidcProviders(options);
  const grants = new Grants({ ...options, clients, passcodes, codes, oidc });
  const guard = new Guard(tokens);
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: FastifyRequest, body: string | Buffer) => new URLSearchParams(String(body)),
  );
  const parseJson = app.getDefaultJsonParser('error', 'error');
  // cf says that there is JSON where it sends nothing.
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) =>
    body === '' ? done(null, undefined) : parseJson(request, String(body), done),
  );
  app.setErrorHandler((error, _request, reply) => sendError(error, reply, options));
  app.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .send({ error: 'not_found', error_description: `No such endpoint: ${request.method} ${path(request)}` }),
  );

  app.post('/oauth/token', async (request, reply) => {
    const form = formOf(request);
    // Where cf says it.
    const hint = queryOf(request).get('login_hint');
    if (hint !== null && !form.has('login_hint')) form.set('login_hint', hint);
    const response = await grants.token(await grants.authenticate(request.headers.authorization, form), form);
    return reply.header('cache-control', 'no-store').header('pragma', 'no-cache').send(response);
  });
  const asResource = async (request: FastifyRequest, form: URLSearchParams): Promise<void> => {
    const { authorities } = await grants.authenticate(request.headers.authorization, form);
    if (!authorities.includes('uaa.resource')) {
      throw new UaaError('access_denied', 'The client needs the authority uaa.resource to be told of tokens');
    }
  };
  app.post('/check_token', async (request) => {
    const form = formOf(request);
    await asResource(request, form);
    return tokens.claims(form.get('token') ?? '');
  });
  // RFC 7662: a token that is not valid is no error.
  app.post('/introspect', async (request) => {
    const form = formOf(request);
    await asResource(request, form);
    try {
      return { ...(await tokens.claims(form.get('token') ?? '')), active: true };
    } catch (error) {
      if (error instanceof UaaError && error.code === 'invalid_token') return { active: false };
      throw error;
    }
  });
  userRoutes(app, { client, guard, unlock: (username) => grants.unlock(username) });
  groupRoutes(app, { client, guard });
  clientRoutes(app, { clients, guard });
  revocationRoutes(app, { client, guard, tokens, revoked: options.revoked });
  app.get('/token_keys', async () => ({ keys: tokens.keys.all.map(jwk) }));
  // Not UAA's: there a new key is set in its configuration.
  app.post('/token_keys', async (request, reply) => {
    await guard.scope(request, 'uaa.admin');
    await rotateKeys(client, tokens.keys, options.now ?? Date.now);
    return reply.code(201).send(jwk(tokens.keys.current));
  });
  app.get('/token_key', async () => jwk(tokens.keys.current));
  app.get('/userinfo', async (request) => {
    const identity = await tokens.verify(request.headers.authorization ?? '');
    return {
      user_id: identity.userId,
      sub: identity.userId,
      user_name: identity.userName,
      name: identity.userName,
      email: identity.userName,
      email_verified: true,
      origin: identity.origin,
    };
  });
  const info = () => ({
    app: { version: '77.0.0' },
    zone_name: 'uaa',
    entityID: new URL(urls.uaa).host,
    links: { uaa: urls.uaa, login: urls.login, passwd: `${urls.login}/passcode` },
    prompts: {
      username: ['text', 'Username'],
      password: ['password', 'Password'],
      passcode: ['password', `Temporary Authentication Code ( Get one at ${urls.login}/passcode )`],
    },
  });
  const providers = async () => {
    const active = (await listProviders(client)).filter(({ spec }) => spec.active && spec.type !== 'ldap');
    return active.map(({ spec }) => ({ origin: spec.origin, text: spec.linkText ?? spec.displayName }));
  };
  browserRoutes(app, { grants, clients, sessions, passcodes, info, login: urls.login, providers });
  externalLoginRoutes(app, { client, oidc, sessions, login: urls.login, now: options.now ?? Date.now });
  providerRoutes(app, { client, guard });
  externalGroupRoutes(app, { client, guard });
  const ssh = { codes: options.sshCodes, tokens, loginUrl: urls.login };
  authorizeRoutes(app, { grants, clients, sessions, codes, issuer: tokens.issuer, ssh });
  discoveryRoutes(app, { issuer: tokens.issuer, urls });
  app.get('/info', async () => info());
  app.get('/healthz', async (_request, reply) => reply.type('text/plain').send('ok\n'));
  return app;
}

function path(request: FastifyRequest): string {
  return request.url.split('?')[0] ?? '';
}

function formOf(request: FastifyRequest): URLSearchParams {
  const query = request.url.indexOf('?');
  if (request.body instanceof URLSearchParams) return request.body;
  // UAA takes the form's fields from the query too.
  return new URLSearchParams(query < 0 ? '' : request.url.slice(query + 1));
}

function jwk(key: SigningKey): Record<string, unknown> {
  const { kty, n, e } = key.publicKey.export({ format: 'jwk' });
  return { kty, use: 'sig', alg: 'RS256', kid: key.id, n, e, value: key.publicPem };
}

function sendError(error: unknown, reply: FastifyReply, options: UaaOptions): FastifyReply {
  if (error instanceof UaaError) {
    if (error.status === 401) reply.header('www-authenticate', 'Bearer realm="UAA/oauth"');
    return reply.code(error.status).send(error.toJson());
  }
  const status = (error as { statusCode?: number }).statusCode;
  if (status !== undefined && status < 500) {
    return reply.code(status).send({ error: 'invalid_request', error_description: (error as Error).message });
  }
  options.log?.('error', 'A UAA request failed', { error });
  return reply.code(500).send({ error: 'server_error', error_description: 'An unexpected error occurred' });
}
