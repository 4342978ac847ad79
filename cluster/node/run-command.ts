/** Runs a command in a container to its end, for probes and hooks. */
import type { Readable } from 'node:stream';
import type { Engine } from '#engine/engine.ts';

const kept = 10 * 1024;

export async function runCommand(
  engine: Engine,
  id: string,
  command: string[],
  signal: AbortSignal,
): Promise<{ code: number; output: string }> {
  signal.throwIfAborted();
  const session = await engine.exec(id, { command }, { signal });
  const kill = (): void => session.kill();
  signal.addEventListener('abort', kill, { once: true });
  let output = '';
  const collect = (stream: Readable | undefined): void => {
    stream?.on('data', (chunk: Buffer) => {
      if (output.length < kept) output += chunk.toString().slice(0, kept - output.length);
    });
    stream?.on('error', () => {}); // The end of the session says what happened.
  };
  collect(session.stdout);
  collect(session.stderr);
  try {
    const { code } = await session.exited;
    signal.throwIfAborted();
    return { code, output };
  } finally {
    signal.removeEventListener('abort', kill);
  }
}
