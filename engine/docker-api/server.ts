/**
 * Docker's Engine API on a unix socket, and over TCP where that is asked for: a thin translator to `engine/engine.ts`.
 * Whoever may open the socket (root, mode 0660), or has a certificate for the TCP door, sees everything that the engine
 * has, secrets in environments too; there are no smaller rights.
 */
import { once } from 'node:events';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import { createConnection, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { DEFAULT_TIMEOUT_MILLISECONDS } from '../build/build.ts';
import { EngineError } from '../engine.ts';
import type { Call, DockerEngine } from './call.ts';
import { removeUnfinishedSteps } from './build-containers.ts';
import { DockerContainers } from './docker-containers.ts';
import { DockerError, toDockerError } from './errors.ts';
import { findRoute } from './routes.ts';
import { NEWEST_MINOR, OLDEST_MINOR } from './system.ts';
import { createTcpServer, listenTcp, requireMember, type TcpDoor } from './tcp-door.ts';

export interface DockerApiOptions {
  engine: DockerEngine;
  socketPath: string;
  /** Sampan's own. */
  version: string;
  /** A build that takes longer is stopped. Default two hours. */
  buildTimeoutMilliseconds?: number;
  onError?: (error: unknown) => void;
  /** Another door; never without mutual TLS. */
  tcp?: TcpDoor;
}

export interface DockerApi {
  /** Of the TCP door, where there is one. */
  port?: number;
  close(): Promise<void>;
}

/** @throws EngineError `conflict` where another process serves the socket; one that a dead process left is replaced */
export async function startDockerApi(options: DockerApiOptions): Promise<DockerApi> {
  const { socketPath, tcp } = options;
  await mkdir(dirname(socketPath), { recursive: true });
  if (await answers(socketPath)) {
    throw new EngineError(
      'conflict',
      `another process serves the Docker API on ${socketPath}; stop it or choose another path`,
    );
  }
  await rm(socketPath, { force: true });
  const docker = new DockerContainers(options.engine, (error) => options.onError?.(error));
  await docker.open();
  await removeUnfinishedSteps(options.engine, docker);
  // Followed logs last as long as they last.
  const doors: Server[] = [createServer({ requestTimeout: 0 })];
  if (tcp !== undefined) doors.push(createTcpServer(tcp));
  const streams = new Set<Duplex>();
  for (const door of doors) serve(door, options, docker, streams);
  const close = async (): Promise<void> => {
    const closed = Promise.all(doors.map(closeServer));
    // The doors wait for what was upgraded too, and do not know it.
    for (const socket of streams) socket.destroy();
    await closed;
    await docker.close();
  };
  try {
    const [local, remote] = doors;
    local?.listen(socketPath);
    if (local !== undefined) await once(local, 'listening');
    await chmod(socketPath, 0o660);
    return { ...(tcp !== undefined && remote !== undefined ? { port: await listenTcp(remote, tcp) } : {}), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function serve(server: Server, options: DockerApiOptions, docker: DockerContainers, streams: Set<Duplex>): void {
  server.on('request', (request, response) => {
    void answer(options, docker, request, response);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    streams.add(socket);
    socket.on('close', () => streams.delete(socket)).on('error', () => socket.destroy());
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Socket);
    response.on('finish', () => socket.end());
    void answer(options, docker, request, response, socket);
  });
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

async function answer(
  options: DockerApiOptions,
  docker: DockerContainers,
  request: IncomingMessage,
  response: ServerResponse,
  socket?: Duplex,
): Promise<void> {
  const { engine, version } = options;
  const call: Call = {
    engine,
    docker,
    version,
    minor: NEWEST_MINOR,
    request,
    response,
    path: {},
    query: new URLSearchParams(),
    buildTimeoutMilliseconds: options.buildTimeoutMilliseconds ?? DEFAULT_TIMEOUT_MILLISECONDS,
    ...(socket === undefined ? {} : { socket }),
  };
  try {
    await handle(options, call);
  } catch (error) {
    fail(options, call, error);
  }
}

async function handle(options: DockerApiOptions, call: Call): Promise<void> {
  const { request, response } = call;
  if (options.tcp !== undefined) requireMember(request.socket, options.tcp);
  response.setHeader('api-version', `1.${NEWEST_MINOR}`);
  response.setHeader('docker-experimental', 'false');
  response.setHeader('ostype', 'linux');
  response.setHeader('server', `Sampan/${options.version} (linux)`);
  const [rawPath = '', rawQuery = ''] = (request.url ?? '').split('?', 2);
  const versioned = /^\/v(\d+)\.(\d+)(\/.*)$/.exec(rawPath);
  call.minor = versioned === null ? NEWEST_MINOR : checkedMinor(Number(versioned[1]), Number(versioned[2]));
  const method = request.method ?? '';
  const path = versioned?.[3] ?? rawPath;
  const found = findRoute(method, path);
  if (found === undefined) throw new DockerError(404, 'page not found');
  const { route, parameters } = found;
  if (route.handle === undefined) {
    throw new DockerError(501, `${method} ${route.path} is not supported by this engine`);
  }
  call.path = Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, decoded(value)]));
  call.query = new URLSearchParams(rawQuery);
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

function fail(options: DockerApiOptions, { request, response, socket, isStreaming }: Call, error: unknown): void {
  const refusal = toDockerError(error);
  if (refusal.status === 500) options.onError?.(error);
  if (isStreaming === true) {
    socket?.destroy();
    return;
  }
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
