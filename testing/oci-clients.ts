/** skopeo, umoci, podman and buildah, each with a place of its own that goes with the test. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface OciClients extends AsyncDisposable {
  readonly directory: string;
  /** Their output; rejects with what they said where they fail. */
  skopeo(...words: string[]): Promise<string>;
  umoci(...words: string[]): Promise<string>;
  podman(...words: string[]): Promise<string>;
  buildah(...words: string[]): Promise<string>;
}

export async function openOciClients(): Promise<OciClients> {
  const directory = await mkdtemp(join(tmpdir(), 'oci-clients-'));
  const policy = join(directory, 'policy.json');
  await writeFile(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
  await writeFile(join(directory, 'containers.conf'), '');
  await writeFile(join(directory, 'registries.conf'), '');
  await writeFile(join(directory, 'auth.json'), '{}');
  const env = {
    ...process.env,
    HOME: directory,
    XDG_RUNTIME_DIR: directory,
    TMPDIR: directory,
    CONTAINERS_CONF: join(directory, 'containers.conf'),
    CONTAINERS_REGISTRIES_CONF: join(directory, 'registries.conf'),
    REGISTRY_AUTH_FILE: join(directory, 'auth.json'),
  };
  const client = async (command: string, ...words: string[]): Promise<string> => {
    const { stdout } = await run(command, words, { env, maxBuffer: 64 * 1024 * 1024, timeout: 120_000 });
    return stdout;
  };
  const storage = [
    '--root',
    join(directory, 'storage'),
    '--runroot',
    join(directory, 'run'),
    '--storage-driver',
    'vfs',
  ];
  const podman = [
    ...storage,
    '--tmpdir',
    join(directory, 'libpod'),
    '--cgroup-manager',
    'cgroupfs',
    '--events-backend',
    'none',
  ];
  const withPolicy = (words: string[]): string[] =>
    words[0] === 'pull' || words[0] === 'from' || words[0] === 'push' || words[0] === 'commit'
      ? [words[0], '--signature-policy', policy, ...words.slice(1)]
      : words;
  return {
    directory,
    skopeo: async (...words) => await client('skopeo', '--policy', policy, ...words),
    umoci: async (...words) => await client('umoci', ...words),
    podman: async (...words) => await client('podman', ...podman, ...withPolicy(words)),
    buildah: async (...words) => await client('buildah', ...storage, ...withPolicy(words)),
    async [Symbol.asyncDispose]() {
      await rm(directory, { recursive: true, force: true });
    },
  };
}
