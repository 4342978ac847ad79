/**
 * Who sent a request, and what that allows: a user by name and password (RFC 7617), the bearer of a token of this
 * registry (RFC 6750), or nobody. For the first and the last every question goes to the registry's `authorize`; a
 * token answers by itself, since `authorize` was asked when it was made.
 */
import type { IncomingMessage } from 'node:http';
import { RegistryError } from './errors.ts';
import type { RegistryAction, RegistryRequest } from './exchange.ts';
import { answers, covers, readToken, scopeOf } from './tokens.ts';

export const TOKEN_PATH = '/token';

export interface Doorkeeper {
  authorize: (request: RegistryRequest) => boolean | Promise<boolean>;
  tokenKey: Buffer;
  /** The audience of the tokens. */
  service: string;
}

export interface Caller {
  /** `''` for nobody. */
  name: string;
  /** Whether the credentials are somebody's, or nobody may come in too. */
  isKnown(): Promise<boolean>;
  allows(action: RegistryAction, repository: string): Promise<boolean>;
  /** False where a better token might allow what this one does not. */
  knows(action: RegistryAction, repository: string): boolean;
  /** How an action is refused: by asking for credentials (also to pull from other repositories), or for good. */
  refusal(action: RegistryAction, repository: string, alsoPull?: readonly string[]): Promise<RegistryError>;
}

/** @throws RegistryError UNAUTHORIZED on a token that is not valid here and now */
export function callerOf(keeper: Doorkeeper, request: IncomingMessage): Caller {
  const header = request.headers.authorization ?? '';
  const bearer = /^bearer +([\w.~+/=-]+) *$/i.exec(header)?.[1];
  if (bearer === undefined) return userOf(keeper, request, parseBasic(header));
  const claims = readToken(keeper.tokenKey, keeper.service, bearer);
  if (claims === undefined) throw unauthorized(keeper, request, { error: 'invalid_token' });
  return {
    name: claims.subject,
    isKnown: async () => claims.subject !== '' || (await keeper.authorize({ action: 'pull' })),
    allows: async (action, repository) => covers(claims.access, action, repository),
    knows: (action, repository) => answers(claims.access, action, repository),
    refusal: async (action, repository, alsoPull) => {
      const names = [repository, ...(alsoPull ?? [])];
      // Asked again, the same answer would come, and a client would ask without end.
      if (claims.subject !== '' && answers(claims.access, action, repository) && alsoPull === undefined)
        return denied(action, repository);
      const scope = names.map((name, index) => scopeOf(index === 0 ? action : 'pull', name)).join(' ');
      return unauthorized(keeper, request, { error: 'insufficient_scope', scope });
    },
  };
}

export function userOf(
  keeper: Doorkeeper,
  request: IncomingMessage,
  credentials: { username?: string; password?: string },
): Caller {
  const ask = async (asked: Omit<RegistryRequest, 'username' | 'password'>): Promise<boolean> =>
    await keeper.authorize({ ...credentials, ...asked });
  const isKnown = async (): Promise<boolean> => await ask({ action: 'pull' });
  return {
    name: credentials.username ?? '',
    isKnown,
    knows: () => true,
    allows: async (action, repository) => await ask({ ...(repository === '' ? {} : { repository }), action }),
    refusal: async (action, repository) => {
      // Nobody we know is asked for a password; somebody we know has no right.
      if (credentials.username === undefined || !(await isKnown()))
        return unauthorized(keeper, request, { scope: scopeOf(action, repository) });
      return denied(action, repository);
    },
  };
}

function denied(action: RegistryAction, repository: string): RegistryError {
  return new RegistryError('DENIED', 'requested access to the resource is denied', {
    detail: { name: repository, action },
  });
}

/** With both ways to come in; the first is what clients take who know it. */
export function unauthorized(
  keeper: Doorkeeper,
  request: IncomingMessage,
  bearer: { scope?: string; error?: 'invalid_token' | 'insufficient_scope' } = {},
): RegistryError {
  const parameters = [`realm="https://${ownAddress(request)}${TOKEN_PATH}"`, `service="${keeper.service}"`];
  if (bearer.scope !== undefined) parameters.push(`scope="${bearer.scope}"`);
  if (bearer.error !== undefined) parameters.push(`error="${bearer.error}"`);
  return new RegistryError('UNAUTHORIZED', 'authentication required', {
    headers: { 'www-authenticate': [`Bearer ${parameters.join(',')}`, 'Basic realm="registry"'] },
  });
}

/** As the client named us, where that is a name at all: it is the one address that surely leads here from there. */
function ownAddress({ headers, socket }: IncomingMessage): string {
  const host = headers.host ?? '';
  if (/^[A-Za-z0-9.-]{1,253}(:\d{1,5})?$|^\[[0-9a-fA-F:.]{2,45}\](:\d{1,5})?$/.test(host)) return host;
  const address = socket.localAddress ?? '127.0.0.1';
  return `${address.includes(':') ? `[${address}]` : address}:${socket.localPort ?? 443}`;
}

export function parseBasic(header: string): { username?: string; password?: string } {
  const encoded = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header)?.[1];
  if (encoded === undefined) return {};
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? {} : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
