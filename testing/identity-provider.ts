/**
 * An OpenID Connect provider on the loopback, for tests: it logs everybody in at once as whom it was told, and lies when it is
 * told to. The client's secret and PKCE are checked as a provider must.
 */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export interface IdentityProviderDouble extends AsyncDisposable {
  url: string;
  clientId: string;
  clientSecret: string;
  /** Of who logs in next, in the ID token; and what only the user info endpoint says. */
  claims: Record<string, unknown>;
  userInfo: Record<string, unknown>;
  lies: { nonce?: string; audience?: string; issuer?: string; strangeKey?: boolean; expired?: boolean };
  /** Of those who say their password elsewhere (the grant `password`), by name. */
  passwords: Map<string, string>;
  /** Refuses with this error instead of a code. */
  refuses?: string;
}

interface Begun {
  nonce: string;
  challenge: string;
}

export async function startIdentityProvider(): Promise<IdentityProviderDouble> {
  const [own, strange] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')];
  const codes = new Map<string, Begun>();
  const server = createServer((request, response) => {
    answer(request).then(
      ({ status, location, body }) => {
        response.writeHead(status, location === undefined ? { 'content-type': 'application/json' } : { location });
        response.end(body === undefined ? '' : JSON.stringify(body));
      },
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider: IdentityProviderDouble = {
    url,
    clientId: 'sampan',
    clientSecret: 'between us',
    claims: {},
    userInfo: {},
    lies: {},
    passwords: new Map(),
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };

  async function idToken(nonce?: string): Promise<string> {
    const { lies } = provider;
    const said = lies.nonce ?? nonce;
    return new SignJWT({ ...(said === undefined ? {} : { nonce: said }), ...provider.claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer(lies.issuer ?? url)
      .setAudience(lies.audience ?? provider.clientId)
      .setIssuedAt()
      .setExpirationTime(lies.expired ? '-1h' : '5m')
      .sign(lies.strangeKey ? strange.privateKey : own.privateKey);
  }

  function authorize(query: URLSearchParams): Answer {
    const back = new URL(query.get('redirect_uri') ?? '');
    const code = randomUUID();
    codes.set(code, { nonce: query.get('nonce') ?? '', challenge: query.get('code_challenge') ?? '' });
    if (provider.refuses === undefined) back.searchParams.set('code', code);
    else back.searchParams.set('error', provider.refuses);
    back.searchParams.set('state', query.get('state') ?? '');
    return { status: 303, location: back.href };
  }

  async function token(request: IncomingMessage): Promise<Answer> {
    const form = new URLSearchParams(await text(request));
    const basic = Buffer.from(String(request.headers.authorization).replace('Basic ', ''), 'base64').toString();
    const [id = form.get('client_id'), secret = form.get('client_secret')] = basic.includes(':')
      ? basic.split(':').map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
      : [];
    if (id !== provider.clientId || secret !== provider.clientSecret)
      return { status: 401, body: { error: 'invalid_client' } };
    if (form.get('grant_type') === 'password') {
      const isKnown = provider.passwords.get(form.get('username') ?? '') === form.get('password');
      if (!isKnown) return { status: 400, body: { error: 'invalid_grant' } };
      return { status: 200, body: { access_token: 'opaque', token_type: 'Bearer', id_token: await idToken() } };
    }
    const begun = codes.get(form.get('code') ?? '');
    codes.delete(form.get('code') ?? '');
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    if (begun?.challenge !== challenge) return { status: 400, body: { error: 'invalid_grant' } };
    const body = { access_token: 'opaque', token_type: 'Bearer', id_token: await idToken(begun.nonce) };
    return { status: 200, body };
  }

  async function answer(request: IncomingMessage): Promise<Answer> {
    const { pathname, searchParams } = new URL(request.url ?? '/', url);
    if (pathname === '/authorize') return authorize(searchParams);
    if (pathname === '/token') return token(request);
    if (pathname === '/userinfo') return { status: 200, body: { sub: provider.claims['sub'], ...provider.userInfo } };
    if (pathname === '/keys')
      return {
        status: 200,
        body: { keys: [{ ...(await exportJWK(own.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] },
      };
    if (pathname !== '/.well-known/openid-configuration') return { status: 404, body: {} };
    return {
      status: 200,
      body: {
        issuer: url,
        authorization_endpoint: `${url}/authorize`,
        token_endpoint: `${url}/token`,
        userinfo_endpoint: `${url}/userinfo`,
        jwks_uri: `${url}/keys`,
        response_types_supported: ['code'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
      },
    };
  }
  return provider;
}

interface Answer {
  status: number;
  location?: string;
  body?: unknown;
}
