/**
 * The Docker API over TCP. Who connects shows a certificate of the authority, in which the right organization is named: the
 * authority signs others too, for other doors. There is no way to listen without.
 */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { DockerError } from './errors.ts';

export interface TcpDoor {
  host: string;
  /** 0: a free one. */
  port: number;
  /** PEM: the authority that signs clients' certificates, and the door's own certificate and key. */
  ca: string;
  certificate: string;
  key: string;
  /** That clients' certificates must name (`O` of the subject). */
  organization: string;
}

const HANDSHAKE_MILLISECONDS = 10_000;

export function createTcpServer({ ca, certificate, key }: TcpDoor): Server {
  return createServer({
    ca,
    cert: certificate,
    key,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_MILLISECONDS,
    requestTimeout: 0,
    // `docker run -i` ends its input and goes on reading.
    allowHalfOpen: true,
  });
}

/** @returns the port. @throws EngineError `conflict` where it is taken */
export async function listenTcp(server: Server, { host, port }: TcpDoor): Promise<number> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (error) {
    if (!hasCode(error, 'EADDRINUSE', 'EADDRNOTAVAIL', 'EACCES', 'ENOTFOUND')) throw error;
    throw new EngineError(
      'conflict',
      `cannot serve the Docker API on ${host}:${port}: ${String(error)}; choose an address of this host and a free port`,
      { cause: error },
    );
  }
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/** Nothing for the unix socket. @throws DockerError 403 */
export function requireMember(socket: Socket, { organization }: TcpDoor): void {
  if (!(socket instanceof TLSSocket)) return;
  const names: unknown = socket.getPeerCertificate().subject?.O;
  if (socket.authorized && (Array.isArray(names) ? names : [names]).includes(organization)) return;
  throw new DockerError(
    403,
    `this certificate is for another door: the Docker API takes those of the organization ${organization}`,
  );
}
