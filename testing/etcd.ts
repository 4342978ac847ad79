/** Debian's etcd, run by tests and benches: members with directories and ports of their own, on the loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEtcdClient } from '#cluster/store/etcd/client.ts';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';
import { freePort } from '#lib/ports.ts';
import { until } from './until.ts';

export interface EtcdMember {
  endpoint: string;
  /** Signal 9. */
  kill(): Promise<void>;
  /** After a kill. */
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT: it lives and says nothing. */
  pause(): Promise<void>;
  resume(): void;
}

export interface Etcd {
  endpoints: string[];
  members: EtcdMember[];
  /** For clients, where it was started with TLS. */
  tls: { ca: string; cert: string; key: string } | undefined;
  /** Where those three lie as `ca.crt`, `client.crt`, `client.key`. */
  directory: string;
  stop(): Promise<void>;
}

interface EtcdStartOptions {
  members?: number;
  /** Clients need a certificate. */
  tls?: boolean;
}

export async function startEtcd({ members: count = 1, tls = false }: EtcdStartOptions = {}): Promise<Etcd> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-etcd-'));
  const certificates = tls ? await makeCertificates(directory) : undefined;
  const scheme = tls ? 'https' : 'http';
  const ports: { client: number; peer: number }[] = [];
  for (let index = 0; index < count; index++) ports.push({ client: await freePort(), peer: await freePort() });
  const cluster = ports.map(({ peer }, index) => `m${index}=http://127.0.0.1:${peer}`).join(',');
  const running: ChildProcess[] = [];
  const members = ports.map(({ client, peer }, index): EtcdMember => {
    const endpoint = `${scheme}://127.0.0.1:${client}`;
    const words = [
      ...['--name', `m${index}`, '--data-dir', join(directory, `m${index}`), '--log-level', 'error', '--logger', 'zap'],
      ...['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint],
      ...[
        '--listen-peer-urls',
        `http://127.0.0.1:${peer}`,
        '--initial-advertise-peer-urls',
        `http://127.0.0.1:${peer}`,
      ],
      ...['--initial-cluster', cluster, '--max-request-bytes', String(8 << 20)],
      ...(tls ? ['--client-cert-auth', '--trusted-ca-file', join(directory, 'ca.crt')] : []),
      ...(tls ? ['--cert-file', join(directory, 'server.crt'), '--key-file', join(directory, 'server.key')] : []),
    ];
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      const child = running[index];
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    };
    return {
      endpoint,
      kill: () => end('SIGKILL'),
      async start() {
        const log = openSync(join(directory, `m${index}.log`), 'a');
        running[index] = spawn('etcd', words, { stdio: ['ignore', log, log], env: { PATH: process.env.PATH } });
        closeSync(log);
      },
      async pause() {
        const child = running[index];
        child?.kill('SIGSTOP');
        await until(async () => allStopped(child?.pid ?? 0));
      },
      resume: () => void running[index]?.kill('SIGCONT'),
    };
  });
  const etcd: Etcd = {
    endpoints: members.map(({ endpoint }) => endpoint),
    members,
    tls: certificates,
    directory,
    async stop() {
      await Promise.all(members.map((member) => member.kill()));
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    for (const member of members) await member.start();
    await untilAnswering(etcd);
  } catch (error) {
    const said = readFileSync(join(directory, 'm0.log'), 'utf8').slice(-2000);
    await etcd.stop();
    throw new Error(`etcd did not start: ${said}`, { cause: error });
  }
  return etcd;
}

/** A read that all of them agree on. */
async function untilAnswering({ endpoints, tls }: Etcd): Promise<void> {
  const client = openEtcdClient({ endpoints, timeoutMilliseconds: 30_000, ...(tls && { tls: () => tls }) });
  try {
    await client.range('starting etcd', { key: Buffer.from('x'), countOnly: true });
  } finally {
    client.close();
  }
}

/** The signal takes its time to reach every thread. */
function allStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).every((task) => /^State:\s+T/m.test(readFileSync(`${tasks}/${task}/status`, 'utf8')));
}

async function makeCertificates(directory: string): Promise<NonNullable<Etcd['tls']>> {
  const authority = await createAuthority({ commonName: 'etcd', days: 1 });
  const issue = (commonName: string, usages: ('server' | 'client')[]): Promise<KeyPair> =>
    issueCertificate(authority, { commonName, ips: ['127.0.0.1'], dnsNames: ['localhost'], usages, days: 1 });
  // etcd dials itself by its own certificate.
  const [server, client] = await Promise.all([issue('etcd', ['server', 'client']), issue('sampan', ['client'])]);
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text, { mode: 0o600 });
  write('ca.crt', authority.certificate);
  for (const [name, pair] of [
    ['server', server],
    ['client', client],
  ] as const) {
    write(`${name}.crt`, pair.certificate);
    write(`${name}.key`, pair.key);
  }
  return { ca: authority.certificate, cert: client.certificate, key: client.key };
}
