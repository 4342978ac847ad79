/**
 * Kubernetes' own API server over an etcd of its own, where somebody has built it: `kube-apiserver` on the PATH, or in the directory that
 * KUBERNETES_BIN names. It is run only while it is measured.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from '#cluster/client/create.ts';
import { type HttpsTransportOptions, httpsTransport } from '#cluster/client/https.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { findProgram } from '#lib/find-program.ts';
import { freePort } from '#lib/ports.ts';
import { startEtcd } from '#testing/etcd.ts';

export interface ApiPeer {
  /** As an administrator. */
  address: HttpsTransportOptions;
  /** Bytes that it has in memory. */
  resident(): number;
  stop(): Promise<void>;
}

const READY_WITHIN = 90_000;

export function kubernetesProgram(name: string): string | undefined {
  const built = process.env['KUBERNETES_BIN'];
  return (built && findProgram(join(built, name))) || findProgram(name);
}

/** Undefined where there is none. */
export async function startKubeApiServer(): Promise<ApiPeer | undefined> {
  const program = kubernetesProgram('kube-apiserver');
  if (program === undefined) return undefined;
  const directory = await mkdtemp(join(tmpdir(), 'bench-kube-apiserver-'));
  const file = (name: string): string => join(directory, name);
  const authority = await createAuthority({ commonName: 'bench', days: 1 });
  const serving = await issueCertificate(authority, {
    commonName: 'api',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const admin = await issueCertificate(authority, {
    commonName: 'admin',
    organizations: ['system:masters'],
    usages: ['client'],
    days: 1,
  });
  await writeFile(file('ca.crt'), authority.certificate);
  await writeFile(file('server.crt'), serving.certificate);
  await writeFile(file('server.key'), serving.key, { mode: 0o600 });
  const [etcd, port] = [await startEtcd(), await freePort()];
  const said = openSync(file('log'), 'a');
  const child = spawn(
    program,
    [
      ...['--etcd-servers', etcd.endpoints.join(), '--secure-port', String(port), '--bind-address', '127.0.0.1'],
      ...['--tls-cert-file', file('server.crt'), '--tls-private-key-file', file('server.key')],
      ...['--client-ca-file', file('ca.crt'), '--service-cluster-ip-range', '10.250.0.0/16'],
      ...['--service-account-issuer', 'https://bench.invalid', '--service-account-key-file', file('server.crt')],
      ...['--service-account-signing-key-file', file('server.key')],
      // Nobody makes service accounts here, nor takes the taint of new nodes away.
      ...['--disable-admission-plugins', 'ServiceAccount,TaintNodesByCondition'],
    ],
    { stdio: ['ignore', said, said] },
  );
  closeSync(said);
  const peer: ApiPeer = {
    address: { url: `https://127.0.0.1:${port}`, ca: authority.certificate, ...admin },
    resident: () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) * 1024,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      }
      await etcd.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    await ready(peer.address, () => child.exitCode !== null);
  } catch (error) {
    const log = readFileSync(file('log'), 'utf8').slice(-1000);
    await peer.stop();
    throw new Error(`kube-apiserver did not start: ${log}`, { cause: error });
  }
  return peer;
}

async function ready(address: HttpsTransportOptions, hasEnded: () => boolean): Promise<void> {
  const transport = httpsTransport(address);
  const client = createClient(transport);
  const path = '/api/v1/namespaces/default';
  try {
    for (const end = Date.now() + READY_WITHIN; ; await delay(100)) {
      const found = await client.request({ method: 'GET', path }).then(
        () => true,
        () => false,
      );
      if (found) return;
      if (hasEnded() || Date.now() > end) throw new Error('it has ended, or took too long');
    }
  } finally {
    transport.close();
  }
}
