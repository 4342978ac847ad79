/** Who asks: by client certificate (common name and organizations), by bearer token, or nobody known. */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { impersonated } from './authenticators/impersonate.ts';
import type { AuthenticateToken } from './authenticators/token.ts';
import type { Core } from './core.ts';
import { unauthorized } from './errors.ts';
import { ANONYMOUS, authenticated, type User } from './exchange.ts';

/** Reading a certificate costs more than most requests; it does not change on a connection. */
const users = new WeakMap<TLSSocket, User>();

export interface Authenticators {
  core: Core;
  authenticateToken: AuthenticateToken;
}

export interface Identity {
  user: User;
  /** Who acts as the user. */
  impersonator?: User;
}

/** Throws 401 when what was shown is not valid. */
export async function authenticate(
  request: IncomingMessage,
  { core, authenticateToken }: Authenticators,
): Promise<Identity> {
  const own = await identify(request, authenticateToken);
  const user = impersonated(core, own, request);
  return user === own ? { user } : { user, impersonator: own };
}

async function identify(request: IncomingMessage, authenticateToken: AuthenticateToken): Promise<User> {
  const socket = request.socket as TLSSocket;
  const known = users.get(socket);
  if (known !== undefined) return known;
  if (socket.authorized) {
    const { subject } = socket.getPeerCertificate();
    const names = [subject?.CN ?? []].flat();
    if (names[0] !== undefined && names[0] !== '') {
      const user = authenticated({ name: names[0], groups: [subject.O ?? []].flat() });
      users.set(socket, user);
      return user;
    }
  }
  const token = bearerOf(request);
  if (token !== undefined) {
    // Why a token is refused is told to who may ask by TokenReview, not to who shows it.
    const found = await authenticateToken(token).catch(() => undefined);
    if (found !== undefined) return authenticated(found.user);
  }
  const shown =
    token !== undefined ||
    request.headers.authorization !== undefined ||
    Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
  if (shown) throw unauthorized();
  return ANONYMOUS;
}

export const PROTOCOL_TOKEN = 'base64url.bearer.authorization.k8s.io.';

/** From the header, or from a browser's WebSocket, which can send none, as a protocol. */
function bearerOf(request: IncomingMessage): string | undefined {
  const header = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (header !== undefined) return header;
  const protocols = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
  const found = protocols.find((one) => one.startsWith(PROTOCOL_TOKEN));
  return found === undefined ? undefined : Buffer.from(found.slice(PROTOCOL_TOKEN.length), 'base64url').toString();
}
