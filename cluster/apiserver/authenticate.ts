/** Who asks: by client certificate (common name and organizations), by bearer token, or nobody known. */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { groupsOf } from './authorize.ts';
import { StatusError } from './errors.ts';
import { ANONYMOUS, type User } from './exchange.ts';
import type { AuthenticateToken } from './reviews.ts';

/** Reading a certificate costs more than most requests; it does not change on a connection. */
const users = new WeakMap<TLSSocket, User>();

/** Throws 401 when what was shown is not valid. */
export async function authenticate(request: IncomingMessage, tokens: AuthenticateToken | undefined): Promise<User> {
  const user = await identify(request, tokens);
  const name = request.headers['impersonate-user'];
  if (name === undefined) return user;
  if (!groupsOf(user).includes('system:masters'))
    throw new StatusError(
      403,
      'Forbidden',
      `users "${String(name)}" is forbidden: User "${user.name}" cannot impersonate resource "users" in API group "" at the cluster scope`,
      { name: String(name), kind: 'users' },
    );
  const groups = request.headersDistinct['impersonate-group'] ?? [];
  return { name: String(name), groups };
}

async function identify(request: IncomingMessage, tokens: AuthenticateToken | undefined): Promise<User> {
  const socket = request.socket as TLSSocket;
  const known = users.get(socket);
  if (known !== undefined) return known;
  if (socket.authorized) {
    const { subject } = socket.getPeerCertificate();
    const names = [subject?.CN ?? []].flat();
    if (names[0] !== undefined && names[0] !== '') {
      const user = { name: names[0], groups: [subject.O ?? []].flat() };
      users.set(socket, user);
      return user;
    }
  }
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '');
  if (bearer !== null) {
    const user = await tokens?.(bearer[1] ?? '');
    if (user !== undefined) return user;
  }
  const shown =
    request.headers.authorization !== undefined || Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
  if (shown) throw new StatusError(401, 'Unauthorized', 'Unauthorized');
  return ANONYMOUS;
}
