/**
 * Docker's Engine API on a unix socket: a thin translator to `engine/engine.ts`. Whoever may open the socket (root, mode
 * 0660) sees everything that the engine has, secrets in environments too; there are no smaller rights.
 */
import { once } from 'node:events';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createConnection } from 'node:net';
import { dirname } from 'node:path';
import { EngineError } from '../engine.ts';
import type { Call, DockerEngine } from './call.ts';
import { DockerError, toDockerError } from './errors.ts';
import { findRoute } from './routes.ts';
import { NEWEST_MINOR, OLDEST_MINOR } from './system.ts';

export interface DockerApiOptions {
  engine: DockerEngine;
  socketPath: string;
  /** Sampan's own. */
  version: string;
  onError?: (error: unknown) => void;
}

/** @throws EngineError `conflict` where another process serves the socket; one that a dead process left is replaced */
export async function startDockerApi(options: DockerApiOptions): Promise<{ close(): Promise<void> }> {
  const { socketPath } = options;
  await mkdir(dirname(socketPath), { recursive: true });
  if (await answers(socketPath)) {
    throw new EngineError(
      'conflict',
      `another process serves the Docker API on ${socketPath}; stop it or choose another path`,
    );
  }
  await rm(socketPath, { force: true });
  // Followed logs last as long as they last.
  const server = createServer({ requestTimeout: 0 });
  server.on('request', (request, response) => {
    handle(options, request, response).catch((error: unknown) => fail(options, request, response, error));
  });
  server.listen(socketPath);
  await once(server, 'listening');
  await chmod(socketPath, 0o660);
  return {
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function handle(options: DockerApiOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.setHeader('api-version', `1.${NEWEST_MINOR}`);
  response.setHeader('docker-experimental', 'false');
  response.setHeader('ostype', 'linux');
  response.setHeader('server', `Sampan/${options.version} (linux)`);
  const [rawPath = '', rawQuery = ''] = (request.url ?? '').split('?', 2);
  const versioned = /^\/v(\d+)\.(\d+)(\/.*)$/.exec(rawPath);
  const minor = versioned === null ? NEWEST_MINOR : checkedMinor(Number(versioned[1]), Number(versioned[2]));
  const method = request.method ?? '';
  const path = versioned?.[3] ?? rawPath;
  const found = findRoute(method, path);
  if (found === undefined) throw new DockerError(404, 'page not found');
  const { route, parameters } = found;
  if (route.handle === undefined) {
    throw new DockerError(501, `${method} ${route.path} is not supported by this engine; deploy with cf or kubectl`);
  }
  const call: Call = {
    engine: options.engine,
    version: options.version,
    minor,
    request,
    response,
    path: Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, decoded(value)])),
    query: new URLSearchParams(rawQuery),
  };
  await route.handle(call);
}

function checkedMinor(major: number, minor: number): number {
  if (major < 1 || (major === 1 && minor < OLDEST_MINOR)) {
    throw new DockerError(
      400,
      `client version ${major}.${minor} is too old. Minimum supported API version is 1.${OLDEST_MINOR}, please upgrade your client to a newer version`,
    );
  }
  if (major > 1 || minor > NEWEST_MINOR) {
    throw new DockerError(
      400,
      `client version ${major}.${minor} is too new. Maximum supported API version is 1.${NEWEST_MINOR}`,
    );
  }
  return minor;
}

function fail(options: DockerApiOptions, request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const refusal = toDockerError(error);
  if (refusal.status === 500) options.onError?.(error);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = Buffer.from(`${JSON.stringify({ message: refusal.message })}\n`);
  response.writeHead(refusal.status, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new DockerError(400, `the path component ${JSON.stringify(text)} is not well encoded`, { cause });
  }
}

/** Whether somebody accepts connections on the socket. */
async function answers(socketPath: string): Promise<boolean> {
  const socket = createConnection(socketPath);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
