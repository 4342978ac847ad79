/** A stock kubectl as an administrator of a test's control plane. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ControlPlane } from './control-plane.ts';

const FIRST_MINOR = 24;
/** Why tests of it are skipped; false where it is there. */
export const kubectlMissing = spawnSync('kubectl', ['version', '--client']).error ? 'kubectl is not installed' : false;

/** Why tests are skipped that need what stock clients could not do before; false where they can. Debian 12's is 1.20. */
export const kubectlOld = kubectlMissing || oldVersion();

function oldVersion(): string | false {
  const said = spawnSync('kubectl', ['version', '--client', '-o', 'json'], { encoding: 'utf8' }).stdout;
  const [, minor = '0'] = /"gitVersion": *"v1\.(\d+)/.exec(said) ?? [];
  return Number(minor) < FIRST_MINOR ? `kubectl is older than 1.${FIRST_MINOR}` : false;
}

export interface Kubectl {
  /** Resolves with what it printed; rejects with what it complained of. */
  run(...args: string[]): Promise<string>;
  /** As `run`, with a document on its standard input. */
  apply(document: unknown): Promise<string>;
  close(): Promise<void>;
}

/** A kubeconfig; JSON is YAML. */
export function kubeconfigText({ url, ca = '', certificate = '', key = '' }: ControlPlane['address']): string {
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority-data': encode(ca) } }],
    users: [{ name: 'test', user: { 'client-certificate-data': encode(certificate), 'client-key-data': encode(key) } }],
  });
}

export async function startKubectl(plane: ControlPlane): Promise<Kubectl> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-kubectl-'));
  const kubeconfig = join(directory, 'config');
  await writeFile(kubeconfig, kubeconfigText(plane.address), { mode: 0o600 });
  const run = (args: string[], input?: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const all = ['--kubeconfig', kubeconfig, '--cache-dir', join(directory, 'cache'), ...args];
      const child = execFile('kubectl', all, { timeout: 60_000 }, (error, stdout, stderr) => {
        if (error) reject(new Error(`kubectl ${args.join(' ')}: ${stderr}`, { cause: error }));
        else resolve(stdout);
      });
      child.stdin?.end(input);
    });
  return {
    run: (...args) => run(args),
    apply: (document) => run(['apply', '-f', '-'], JSON.stringify(document)),
    close: () => rm(directory, { recursive: true, force: true }),
  };
}
