/** Reads out of the build container through `exec`. What comes is hostile; what goes in is a fixed command. */
import type { Client, PodExecSession } from '#cluster/client/client.ts';
import { readBounded } from '#lib/read-bounded.ts';
import { StagingError } from '../staging.ts';
import { BUILD_CONTAINER } from './build-pod.ts';

type PodName = { name: string; namespace: string };

/** Sorted, whole (no sparse maps), numeric owners: as regular as tar can be asked to be. */
const TAR = [
  '--create',
  '--file=-',
  '--directory=/',
  '--sort=name',
  '--format=posix',
  '--numeric-owner',
  '--one-file-system',
];

/** How `tar` and `cat` are started in a container. */
export type ToolCommand = (name: 'tar' | 'cat') => string[];
const ITS_OWN: ToolCommand = (name) => [name];

export async function* readDirectory(
  { client, pod, tool = ITS_OWN }: { client: Client; pod: PodName; tool?: ToolCommand },
  path: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  // `./` keeps a name that begins with a dash from being an option.
  const command = [...tool('tar'), ...TAR, `./${path}`];
  const session = await client.exec(pod, { container: BUILD_CONTAINER, command, signal });
  const words = collect(session);
  // Who takes no more of it ends it.
  yield* session.stdout as AsyncIterable<Buffer>;
  const { code } = await session.exited;
  // 1: a file changed while it was read; processes of the build may still run, which is their own loss.
  if (code > 1)
    throw new StagingError(
      'build-failed',
      `read /${path} from the build: tar ended with ${code}: ${(await words).slice(0, 500)}`,
    );
}

export async function readFile(
  { client, pod, tool = ITS_OWN }: { client: Client; pod: PodName; tool?: ToolCommand },
  { path, most }: { path: string; most: number },
  signal: AbortSignal,
): Promise<string> {
  const command = [...tool('cat'), '--', path];
  const session = await client.exec(pod, { container: BUILD_CONTAINER, command, signal });
  const words = collect(session);
  const tooLong = () => new StagingError('build-failed', `${path} of the build has more than ${most} bytes`);
  const content = await readBounded(session.stdout, most, tooLong);
  const { code } = await session.exited;
  if (code !== 0) throw new StagingError('build-failed', `read ${path} from the build: ${(await words).slice(0, 500)}`);
  return content.toString('utf8');
}

async function collect(session: PodExecSession): Promise<string> {
  let text = '';
  for await (const chunk of session.stderr as AsyncIterable<Buffer>)
    if (text.length < 4096) text += chunk.toString('utf8');
  return text;
}
