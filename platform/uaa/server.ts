/** UAA's HTTP endpoints. */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Client } from '#cluster/client/client.ts';
import { Grants, type OauthClient } from './grants.ts';
import type { Tokens } from './tokens.ts';
import { UaaError } from './uaa.ts';

export interface UaaOptions {
  client: Client;
  tokens: Tokens;
  /** UAA's own URL and the login server's, as clients dial them. */
  urls: { uaa: string; login: string };
  /** Besides `cf`. */
  clients?: OauthClient[];
  now?: () => number;
  log?: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

const FORM_LIMIT = 64 * 1024;

export function createUaa(options: UaaOptions): FastifyInstance {
  const app = Fastify({ bodyLimit: FORM_LIMIT, forceCloseConnections: true });
  const grants = new Grants(options);
  const { tokens, urls } = options;
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: FastifyRequest, body: string | Buffer) => new URLSearchParams(String(body)),
  );
  app.setErrorHandler((error, _request, reply) => sendError(error, reply, options));
  app.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .send({ error: 'not_found', error_description: `No such endpoint: ${request.method} ${path(request)}` }),
  );

  app.post('/oauth/token', async (request, reply) => {
    const form = formOf(request);
    const response = await grants.token(grants.authenticate(request.headers.authorization, form), form);
    return reply.header('cache-control', 'no-store').header('pragma', 'no-cache').send(response);
  });
  app.post('/check_token', async (request) => {
    const form = formOf(request);
    grants.authenticate(request.headers.authorization, form);
    return tokens.claims(form.get('token') ?? '');
  });
  app.get('/token_keys', async () => ({ keys: [jwk(tokens)] }));
  app.get('/token_key', async () => jwk(tokens));
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
  const info = async () => ({
    app: { version: '77.0.0' },
    zone_name: 'uaa',
    entityID: new URL(urls.uaa).host,
    links: { uaa: urls.uaa, login: urls.login, passwd: `${urls.login}/passcode` },
    prompts: { username: ['text', 'Username'], password: ['password', 'Password'] },
  });
  app.get('/login', info);
  app.get('/info', info);
  app.get('/healthz', async (_request, reply) => reply.type('text/plain').send('ok\n'));
  app.get('/.well-known/openid-configuration', async () => ({
    issuer: tokens.issuer,
    token_endpoint: `${urls.uaa}/oauth/token`,
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    jwks_uri: `${urls.uaa}/token_keys`,
    userinfo_endpoint: `${urls.uaa}/userinfo`,
    grant_types_supported: ['password', 'refresh_token', 'client_credentials'],
    response_types_supported: [],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    claims_supported: ['sub', 'user_name', 'origin', 'iss', 'aud', 'exp', 'iat', 'jti', 'scope', 'client_id'],
  }));
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

function jwk(tokens: Tokens): Record<string, unknown> {
  const { kty, n, e } = tokens.key.publicKey.export({ format: 'jwk' });
  return { kty, use: 'sig', alg: 'RS256', kid: tokens.key.id, n, e, value: tokens.key.publicPem };
}

function sendError(error: unknown, reply: FastifyReply, options: UaaOptions): FastifyReply {
  if (error instanceof UaaError) {
    if (error.status === 401) reply.header('www-authenticate', 'Bearer realm="UAA/oauth"');
    return reply.code(error.status).send({ error: error.code, error_description: error.message });
  }
  const status = (error as { statusCode?: number }).statusCode;
  if (status !== undefined && status < 500) {
    return reply.code(status).send({ error: 'invalid_request', error_description: (error as Error).message });
  }
  options.log?.('error', 'A UAA request failed', { error });
  return reply.code(500).send({ error: 'server_error', error_description: 'An unexpected error occurred' });
}
