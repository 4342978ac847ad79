/** Builds by Docker's Engine API on a unix socket: the one of our own engine, whose header for confined builds it needs. */
import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { StagingError } from '../staging.ts';
import type { DockerfileBuilder, DockerfileRequest } from './dockerfiles.ts';
import { tellBuild } from './output.ts';

export interface EngineBuilderOptions {
  socketPath: string;
  node: string;
  /** For the push to the platform's own registry. */
  login: { username: string; password: string };
}

/** An engine that is started again is back within this. */
const PATIENCE = 60_000;
const PERIOD = 500;

/** The engine is not there, or went. */
class Unreachable extends Error {}

export function createEngineBuilder(options: EngineBuilderOptions): DockerfileBuilder {
  return {
    node: options.node,
    async build(request) {
      for (;;) {
        try {
          await buildOnce(options, request);
          await push(options, request);
          await forget(options, request);
          return;
        } catch (error) {
          request.signal.throwIfAborted();
          if (!(error instanceof Unreachable)) throw error;
          request.onLine('The builder went away; the build begins again when it is back');
          await untilBack(options, request.signal);
        }
      }
    },
  };
}

async function buildOnce(options: EngineBuilderOptions, request: DockerfileRequest): Promise<void> {
  const { limits, confined } = request;
  const query = new URLSearchParams({
    dockerfile: request.dockerfile,
    t: request.reference,
    buildargs: JSON.stringify(request.buildArgs),
    networkmode: `container:${request.container}`,
    memory: String(limits.memoryBytes),
    memswap: String(limits.memoryBytes),
    cpuperiod: '100000',
    cpuquota: String(limits.cpuMillis * 100),
    cpushares: '2',
    forcerm: '1',
  });
  const said = { ...confined, pids: limits.pids, diskBytes: limits.diskBytes };
  const answer = await call(options, {
    method: 'POST',
    path: `/build?${query}`,
    headers: {
      'content-type': 'application/x-tar',
      'x-sampan-confined': Buffer.from(JSON.stringify(said)).toString('base64'),
      'x-registry-config': Buffer.from(JSON.stringify(request.logins)).toString('base64'),
    },
    body: request.context(),
    signal: request.signal,
  });
  await whole(tellBuild(answer, request.onLine));
}

async function untilBack(options: EngineBuilderOptions, signal: AbortSignal): Promise<void> {
  for (const deadline = Date.now() + PATIENCE; ; ) {
    try {
      (await call(options, { method: 'GET', path: '/_ping', signal })).resume();
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Unreachable)) throw error;
      if (Date.now() > deadline)
        throw new StagingError('internal', `the builder does not answer: ${error.message}`, { cause: error });
      await delay(PERIOD, undefined, { signal });
    }
  }
}

/** Its name in the engine; the app's repository holds it now. */
async function forget(options: EngineBuilderOptions, { reference, signal }: DockerfileRequest): Promise<void> {
  try {
    (await call(options, { method: 'DELETE', path: `/images/${reference}`, signal })).resume();
  } catch (error) {
    // A name that stays costs nothing but a line in `docker images`.
    if (!(error instanceof StagingError)) throw error;
  }
}

async function push(options: EngineBuilderOptions, request: DockerfileRequest): Promise<void> {
  const colon = request.reference.lastIndexOf(':');
  const [name, tag] = [request.reference.slice(0, colon), request.reference.slice(colon + 1)];
  const answer = await call(options, {
    method: 'POST',
    path: `/images/${name}/push?tag=${tag}`,
    headers: { 'x-registry-auth': Buffer.from(JSON.stringify(options.login)).toString('base64') },
    signal: request.signal,
  });
  try {
    await whole(tellBuild(answer, () => undefined));
  } catch (error) {
    if (error instanceof StagingError) throw new StagingError('registry', error.message, { cause: error });
    throw error;
  }
}

/** A stream that breaks off is an engine that went. */
async function whole(told: Promise<void>): Promise<void> {
  try {
    await told;
  } catch (error) {
    if (error instanceof StagingError) throw error;
    throw new Unreachable(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

interface Call {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: AsyncIterable<Uint8Array>;
  signal: AbortSignal;
}

/** @throws StagingError `build-failed` in the words of an answer that is an error */
async function call({ socketPath }: EngineBuilderOptions, { body, ...rest }: Call): Promise<IncomingMessage> {
  const request = httpRequest({ socketPath, ...rest });
  const answered = once(request, 'response') as Promise<[IncomingMessage]>;
  let sourceError: unknown;
  if (body === undefined) request.end();
  else {
    const source = watch(body, (error) => {
      sourceError = error;
    });
    // Told by the request itself; a Dockerfile that is refused is answered before the last byte of the context.
    pipeline(Readable.from(source, { objectMode: false }), request).catch(() => undefined);
  }
  let answer: IncomingMessage;
  try {
    [answer] = await answered;
  } catch (error) {
    rest.signal.throwIfAborted();
    if (sourceError !== undefined) throw sourceError;
    throw new Unreachable(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (answer.statusCode === 200) return answer;
  const text = Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Buffer>)).toString('utf8');
  throw new StagingError('build-failed', messageOf(text));
}

function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {
    // Not in Docker's shape: as it is.
  }
  return text.slice(0, 500);
}

async function* watch(
  source: AsyncIterable<Uint8Array>,
  onError: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    onError(error);
    throw error;
  }
}
