/** Contexts for `docker build`, and what the client said. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { DockerHost, Said } from './docker-host.ts';

export interface Builder {
  /** Writes the files into a directory of its own and builds it; the directory goes. `-` as a path: the Dockerfile by standard input. */
  build(files: Record<string, string>, ...words: string[]): Promise<Said>;
  /** The same, or an error with what it said. */
  ok(files: Record<string, string>, ...words: string[]): Promise<string>;
}

export function builderOf(docker: DockerHost): Builder {
  const build = async (files: Record<string, string>, ...words: string[]): Promise<Said> => {
    const directory = makeContext(files);
    try {
      return await docker.docker(['build', ...words, directory]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
  return {
    build,
    async ok(files, ...words) {
      const said = await build(files, ...words);
      if (said.code !== 0) throw new Error(`docker build ended with ${said.code}: ${said.stdout}${said.stderr}`);
      return said.stdout;
    },
  };
}

export function makeContext(files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'context-'));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return directory;
}

/** Runs the client with bytes on its standard input. */
export async function dockerWith(docker: DockerHost, words: string[], input: Buffer): Promise<Said> {
  const { promise, resolve } = Promise.withResolvers<Said>();
  const child = execFile('docker', words, { env: docker.environment, timeout: 60_000 }, (error, stdout, stderr) => {
    resolve({ stdout, stderr, code: error === null ? 0 : typeof error.code === 'number' ? error.code : 255 });
  });
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  return await promise;
}
