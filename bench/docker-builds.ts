/** The peer of `push`: a dockerd with our own stack and runtime as its base image, and the docker client's two commands. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestPlatform, finish } from '#testing/platform.ts';
import { npmRegistry } from '#platform/staging/builds/host-environment.ts';
import { startDockerd } from './peers.ts';

export interface DockerBuilds extends AsyncDisposable {
  version: string;
  /** Builds, runs and publishes the app; gives its port on the loopback. */
  buildAndRun(): Promise<number>;
  /** Removes what runs. */
  remove(): Promise<void>;
}

export interface DockerBuildsOptions {
  platform: TestPlatform;
  /** A droplet: its stack and its runtime are those of the peer's base image too. */
  image: string;
  source: string;
}

/** The machine's, for npm in the peer's builds: none of them is in a droplet. */
const bundle = '/etc/ssl/certs/ca-certificates.crt';
/** Which version it is the app has asked for. */
const runtime = '/layers/sampan_nodejs/node-*/bin';
const dockerfile = `FROM base
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev
COPY . .
CMD ["node", "server.js"]
`;

export async function dockerBuilds({ platform, image, source }: DockerBuildsOptions): Promise<DockerBuilds> {
  const daemon = await startDockerd();
  const directory = await mkdtemp(join(tmpdir(), 'bench-docker-builds-'));
  const docker = async (...words: string[]): Promise<string> => {
    const env = { ...process.env, DOCKER_BUILDKIT: '0', DOCKER_CONFIG: directory };
    const result = await finish('docker', ['-H', `unix://${daemon.socket}`, ...words], { env });
    if (result.code !== 0)
      throw new Error(`docker ${words[0]} ended with ${result.code}\n${result.stdout}\n${result.stderr}`);
    return result.stdout.trim();
  };
  const remove = async (): Promise<void> => {
    const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (left.length > 0) await docker('rm', '-f', ...left);
  };
  const close = async (): Promise<void> => {
    await remove();
    await daemon.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    daemon.load(await archive(platform, image, directory));
    const base = join(directory, 'base');
    const registry = npmRegistry();
    await mkdir(base);
    await writeFile(join(base, 'ca.crt'), await readFile(bundle));
    await writeFile(
      join(base, 'Dockerfile'),
      `FROM droplet\nUSER 0:0\nCOPY ca.crt /ca.crt\nRUN ln -s ${runtime} /runtime\nENV PATH=/runtime:/usr/local/bin:/usr/bin:/bin HOME=/root PORT=8080 NODE_EXTRA_CA_CERTS=/ca.crt npm_config_cafile=/ca.crt${registry ? ` npm_config_registry=${registry}` : ''}\nENTRYPOINT []\n`,
    );
    await docker('build', '-q', '-t', 'base', base);
    await writeFile(join(directory, 'Dockerfile'), dockerfile);
    const build = (): Promise<string> =>
      docker('build', '-q', '--network', 'host', '-t', 'app', '-f', join(directory, 'Dockerfile'), source);
    await build();
    return {
      version: daemon.version,
      async buildAndRun() {
        await build();
        const id = await docker('run', '-d', '-m', '192m', '-p', '127.0.0.1:0:8080', 'app');
        const address = await docker('port', id, '8080/tcp');
        return Number(address.split('\n')[0]?.split(':')[1]);
      },
      remove,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function archive(platform: TestPlatform, image: string, directory: string): Promise<string> {
  const file = join(directory, 'droplet.tar');
  await copyImage(platform, image, `docker-archive:${file}:droplet:latest`);
  return file;
}

/** An image of the instance's own registry to somewhere else, there too, by skopeo as the administrator. */
export async function copyImage({ dataDirectory }: TestPlatform, image: string, to: string): Promise<void> {
  const login = `admin:${(await readFile(join(dataDirectory, 'admin-password'), 'utf8')).trim()}`;
  const logins = ['--src-creds', login, ...(to.startsWith('docker:') ? ['--dest-creds', login] : [])];
  const env = { ...process.env, SSL_CERT_FILE: join(dataDirectory, 'pki', 'ca.crt') };
  const { code, stderr } = await finish('skopeo', ['copy', '-q', ...logins, `docker://${image}`, to], { env });
  if (code !== 0) throw new Error(`skopeo copy ${image} ended with ${code}\n${stderr}`);
}
