/** An engine of a test's own with its Docker API, and the real `docker` client to drive it. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDockerApi } from '#engine/docker-api/server.ts';
import type { EngineOptions } from '#engine/options.ts';
import { type EngineHost, openEngineHost } from './engine-host.ts';

export const withDocker = {
  skip: spawnSync('docker', ['--version']).status === 0 ? false : 'the docker client is not installed',
};

export interface Said {
  stdout: string;
  stderr: string;
  code: number;
}

export interface DockerHost {
  readonly host: EngineHost;
  readonly socketPath: string;
  /** Runs the client to its end; never rejects for its exit status. */
  docker(words: string[], input?: string): Promise<Said>;
  /** Its output, or an error with what it said where it failed. */
  ok(...words: string[]): Promise<string>;
  /** A client that is left running. */
  spawn(words: string[]): ChildProcess;
  environment: NodeJS.ProcessEnv;
  /** Stops API and engine, as an orderly restart does, and starts them again. */
  reopen(): Promise<void>;
  /** Stops them, so that another process may take over, and takes over again. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function openDockerHost(overrides: Partial<EngineOptions> = {}): Promise<DockerHost> {
  const host = await openEngineHost({ sandboxPool: 1, ...overrides });
  const directory = await mkdtemp(join(tmpdir(), 'docker-host-'));
  const socketPath = join(directory, 'docker.sock');
  const environment = { ...process.env, DOCKER_HOST: `unix://${socketPath}`, DOCKER_CONFIG: join(directory, 'config') };
  const start = async () =>
    await startDockerApi({
      engine: host.engine,
      socketPath,
      version: '0.1.0',
      onError: (error) => process.stderr.write(`docker api: ${String(error)}\n`),
    });
  let api = await start();
  const docker = async (words: string[], input?: string): Promise<Said> => {
    const { promise, resolve } = Promise.withResolvers<Said>();
    const options = { env: environment, maxBuffer: 256 * 1024 * 1024, timeout: 60_000 };
    const child = execFile('docker', words, options, (error, stdout, stderr) => {
      resolve({ stdout, stderr, code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255 });
    });
    child.stdin?.on('error', () => undefined);
    if (input !== undefined) child.stdin?.write(input);
    child.stdin?.end();
    return await promise;
  };
  return {
    host,
    socketPath,
    environment,
    docker,
    async ok(...words) {
      const said = await docker(words);
      if (said.code !== 0) throw new Error(`docker ${words.join(' ')} ended with ${said.code}: ${said.stderr}`);
      return said.stdout;
    },
    spawn: (words) => spawn('docker', words, { env: environment, stdio: ['pipe', 'pipe', 'pipe'] }),
    async reopen() {
      await api.close();
      await host.reopen();
      api = await start();
    },
    async pause() {
      await api.close();
      await host.engine.close();
    },
    async resume() {
      await host.reopen();
      api = await start();
    },
    async [Symbol.asyncDispose]() {
      await api.close();
      await host[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
