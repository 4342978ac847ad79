/** Every stock kubectl that this machine has: the one on the PATH, and others beside it that carry their version in their name. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface KubectlProgram {
  path: string;
  /** `1.30`. */
  version: string;
}

export function kubectlPrograms(): KubectlProgram[] {
  const found = spawnSync('sh', ['-c', 'command -v kubectl'], { encoding: 'utf8' }).stdout.trim();
  if (found === '') return [];
  const directory = dirname(realpathSync(found));
  const beside = readdirSync(directory).filter((name) => /^kubectl\.\d+\.\d+$/.test(name));
  const paths = beside.length > 0 ? beside.map((name) => join(directory, name)) : [found];
  return paths.map((path) => ({ path, version: versionOf(path) }));
}

function versionOf(path: string): string {
  const text = execFileSync(path, ['version', '--client', '-o', 'json'], { encoding: 'utf8' });
  const { clientVersion } = JSON.parse(text) as { clientVersion: { gitVersion: string } };
  return /^v(\d+\.\d+)/.exec(clientVersion.gitVersion)?.[1] ?? clientVersion.gitVersion;
}
