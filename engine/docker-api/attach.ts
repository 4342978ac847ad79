/**
 * `/containers/{id}/attach`: output is read from the container's log, from the beginning or from now on, and goes on
 * through a restart of the engine there; input goes to the container's own.
 */
import { drained } from '#lib/drained.ts';
import type { Container, EngineEvent } from '../engine.ts';
import { type Call, findContainer, flag } from './call.ts';
import { DetachKeys, parseKeys } from './detach-keys.ts';
import { settingsOf } from './settings.ts';
import { framed, openStream, openWebSocket, send, type Stream } from './stream.ts';

interface Wishes {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** What was said before. */
  logs: boolean;
  stream: boolean;
}

export async function attachContainer(call: Call): Promise<void> {
  await attach(call, { open: (tty) => openStream(call, tty), isFramed: true });
}

/** Over a WebSocket both streams come as they are, one after the other in binary messages. */
export async function attachWebSocket(call: Call): Promise<void> {
  const webSockets = await import('ws');
  await attach(call, { open: () => openWebSocket(call, webSockets), isFramed: false });
}

interface Way {
  open(tty: boolean): Stream;
  /** Without a terminal. */
  isFramed: boolean;
}

async function attach(call: Call, way: Way): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  const wishes: Wishes = {
    stdin: flag(call, 'stdin'),
    stdout: flag(call, 'stdout'),
    stderr: flag(call, 'stderr'),
    logs: flag(call, 'logs'),
    stream: flag(call, 'stream'),
  };
  const keys = parseKeys(call.query.get('detachKeys') ?? '');
  const ending = new AbortController();
  const life = new Life(call, container, ending.signal);
  let stream: Stream | undefined;
  const output = outputOf(call, container, wishes, life, ending.signal);
  try {
    await output.ready;
    stream = way.open(container.spec.tty === true);
    const { gone } = stream;
    gone.addEventListener('abort', () => ending.abort(), { once: true });
    if (gone.aborted) ending.abort();
    call.docker.happenings.about(container, 'attach');
    if (wishes.stdin && wishes.stream && container.spec.stdin === true) {
      void takeInput(call, container, stream, life, keys, ending).catch(() => ending.abort());
    } else stream.input.resume();
    await output.send(stream, way.isFramed);
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    ending.abort();
    stream?.end();
    await output.close();
  }
}

/** When the container starts, and when it is gone. Listens from the moment that it is made. */
class Life {
  /** Resolves at the next start, or at once where it runs; false where that will never be. */
  readonly started: Promise<boolean>;

  constructor(call: Call, container: Container, signal: AbortSignal) {
    this.started =
      container.state === 'running' ? Promise.resolve(true) : nextStart(call.engine.events({ signal }), container.id);
  }
}

async function nextStart(events: AsyncIterable<EngineEvent>, id: string): Promise<boolean> {
  for await (const event of events) {
    if (event.id !== id) continue;
    if (event.type === 'container-started') return true;
    if (event.type === 'container-removed' || event.type === 'container-exited') return false;
  }
  return false;
}

interface Output {
  /** Nothing that is said from now on is missed. */
  ready: Promise<unknown>;
  send(stream: Stream, isFramed: boolean): Promise<void>;
  /** Closes the log, wherever the reading of it is. */
  close(): Promise<void>;
}

function outputOf(call: Call, container: Container, wishes: Wishes, life: Life, signal: AbortSignal): Output {
  const caughtUp = Promise.withResolvers<void>();
  const tty = container.spec.tty === true;
  const again = container.state === 'exited' && wishes.stream;
  const records = async function* () {
    if (wishes.logs && (again || !wishes.stream))
      yield* call.engine.logs(container.id, { raw: true, ...streamsOf(wishes, tty), signal });
    if (!wishes.stream) return;
    if (again) {
      caughtUp.resolve();
      if (!(await life.started)) return;
    }
    yield* call.engine.logs(container.id, {
      raw: true,
      follow: true,
      ...streamsOf(wishes, tty),
      // What an earlier run said is not said again; a first run's log is empty.
      ...(again ? { since: container.exit?.at ?? 0 } : wishes.logs ? {} : { tail: 0 }),
      onCaughtUp: () => caughtUp.resolve(),
      signal,
    });
  };
  const source = records();
  const first = source.next();
  first.then(
    () => caughtUp.resolve(),
    () => caughtUp.resolve(),
  );
  return {
    ready: caughtUp.promise,
    async send(stream, isFramed) {
      for (let next = await first; next.done !== true; next = await source.next()) {
        const { stream: name, line } = next.value;
        await send(stream, tty || !isFramed ? line : framed(name, line));
      }
    },
    async close() {
      // What it throws was told by `send`, or nobody waits for it any more.
      await source.return().catch(() => {});
    },
  };
}

function streamsOf({ stdout, stderr }: Wishes, tty: boolean): { stdout: boolean; stderr: boolean } {
  return tty ? { stdout: true, stderr: true } : { stdout, stderr };
}

async function takeInput(
  call: Call,
  container: Container,
  { input, output }: Stream,
  life: Life,
  keys: Buffer,
  ending: AbortController,
): Promise<void> {
  if (!(await life.started)) return void input.resume();
  const tty = container.spec.tty === true;
  const stdin = await call.engine.attachInput(container.id);
  stdin.on('error', () => {});
  ending.signal.addEventListener('abort', () => stdin.destroy(), { once: true });
  const escape = tty ? new DetachKeys(keys) : undefined;
  // Its end must not take the output away.
  const chunks: AsyncIterable<Buffer> = input.iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    const { bytes, detached } = escape?.push(chunk) ?? { bytes: chunk, detached: false };
    if (bytes.length > 0 && !stdin.write(bytes)) await drained(stdin);
    if (!detached) continue;
    call.docker.happenings.about(container, 'detach');
    output.end();
    ending.abort();
    return;
  }
  if (!tty && settingsOf(container)?.stdinOnce === true) stdin.end();
  else if (tty) stdin.destroy();
}
