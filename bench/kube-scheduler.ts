/**
 * Kubernetes' own scheduler for a `kube-apiserver`, where somebody has built it: on the PATH, or in the directory that KUBERNETES_BIN
 * names. With the limits of its client out of the way, as its published figures are taken.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { HttpsTransportOptions } from '#cluster/client/https.ts';
import { freePort } from '#lib/ports.ts';
import { kubernetesProgram } from './kube-apiserver.ts';

export interface SchedulerPeer {
  /**
   * Resolves when it has tried so often with that result, with how often it has; its own metrics are asked, so that watching
   * costs next to nothing.
   */
  until(result: 'scheduled' | 'unschedulable', count: number): Promise<number>;
  stop(): Promise<void>;
}

const WITHIN = 600_000;

/** Undefined where there is none. */
export async function startKubeScheduler(api: HttpsTransportOptions): Promise<SchedulerPeer | undefined> {
  const program = kubernetesProgram('kube-scheduler');
  if (program === undefined) return undefined;
  const directory = await mkdtemp(join(tmpdir(), 'bench-kube-scheduler-'));
  const file = (name: string): string => join(directory, name);
  const port = await freePort();
  await writeFile(file('kubeconfig'), kubeconfig(api), { mode: 0o600 });
  await writeFile(
    file('config'),
    JSON.stringify({
      apiVersion: 'kubescheduler.config.k8s.io/v1',
      kind: 'KubeSchedulerConfiguration',
      leaderElection: { leaderElect: false },
      clientConnection: { kubeconfig: file('kubeconfig'), qps: 5000, burst: 5000 },
    }),
  );
  const said = openSync(file('log'), 'a');
  const child = spawn(
    program,
    [
      ...['--config', file('config'), '--bind-address', '127.0.0.1', '--secure-port', String(port)],
      ...['--cert-dir', directory, '--authorization-always-allow-paths', '/metrics'],
    ],
    { stdio: ['ignore', said, said] },
  );
  closeSync(said);
  return {
    async until(result, count) {
      for (const end = Date.now() + WITHIN; child.exitCode === null && Date.now() < end; await delay(50)) {
        const done = await attempts(port, result);
        if (done >= count) return done;
      }
      throw new Error(`kube-scheduler has ended, or took too long: ${readFileSync(file('log'), 'utf8').slice(-1000)}`);
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function kubeconfig({ url, ca, certificate, key }: HttpsTransportOptions): string {
  const base64 = (pem: unknown): string => Buffer.from(String(pem)).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'bench', cluster: { server: url, 'certificate-authority-data': base64(ca) } }],
    users: [
      { name: 'admin', user: { 'client-certificate-data': base64(certificate), 'client-key-data': base64(key) } },
    ],
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'admin' } }],
    'current-context': 'bench',
  });
}

/** `scheduler_schedule_attempts_total`; 0 as long as it does not answer. */
function attempts(port: number, result: string): Promise<number> {
  return new Promise((resolve) => {
    const sent = get({ port, path: '/metrics', rejectUnauthorized: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.once('error', () => resolve(0));
      response.once('end', () => {
        const line = new RegExp(`^scheduler_schedule_attempts_total\\{.*result="${result}"\\} (\\S+)$`, 'm').exec(text);
        resolve(Number(line?.[1] ?? 0));
      });
    });
    sent.once('error', () => resolve(0));
  });
}
