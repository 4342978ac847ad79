/** Debian's pebble, an ACME server for tests, on the loopback: it checks http-01 at a router's port and asks a name server of the test. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { freePort } from '#lib/ports.ts';
import { until } from './until.ts';

export interface Pebble extends AsyncDisposable {
  directory: string;
  /** Signs pebble's own certificate, PEM. */
  authorities: string;
  /** All that it said. */
  log(): Promise<string>;
}

/** Debian 13 has none: tests skip there. */
export const pebbleMissing = (process.env.PATH ?? '').split(delimiter).some((one) => existsSync(join(one, 'pebble')))
  ? false
  : "Debian's package pebble is not here";

const ATTEMPTS = 5;

interface PebbleOptions {
  /** Where it finds http-01's answers. */
  httpPort: number;
  /** Address of a name server, with its port. */
  dns: string;
  /** Account keys elsewhere, by id: an account must be bound to one of them. In base64url. */
  bindings?: Record<string, string>;
}

export async function startPebble(options: PebbleOptions): Promise<Pebble> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options);
    } catch (error) {
      // A port that was free a moment ago is somebody's.
      if (attempt === ATTEMPTS || !String(error).includes('address already in use')) throw error;
    }
  }
}

async function startOnce({ httpPort, dns, bindings }: PebbleOptions): Promise<Pebble> {
  const folder = await mkdtemp(join(tmpdir(), 'pebble-'));
  const file = (name: string): string => join(folder, name);
  const authority = await createAuthority({ commonName: 'pebble', days: 1 });
  const pair = await issueCertificate(authority, {
    commonName: 'localhost',
    dnsNames: ['localhost'],
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const port = await freePort();
  await writeFile(file('server.crt'), pair.certificate);
  await writeFile(file('server.key'), pair.key);
  const pebble = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: '127.0.0.1:0',
    certificate: file('server.crt'),
    privateKey: file('server.key'),
    httpPort,
    tlsPort: 1,
    externalAccountBindingRequired: bindings !== undefined,
    ...(bindings !== undefined && { externalAccountMACKeys: bindings }),
  };
  await writeFile(file('config.json'), JSON.stringify({ pebble }));
  const output = await open(file('log'), 'w');
  const child = spawn('pebble', ['-config', file('config.json'), '-dnsserver', dns, '-strict'], {
    stdio: ['ignore', output.fd, output.fd],
    // It would wait some seconds before each check otherwise. Of nonces it refuses some, as the protocol allows.
    env: { PATH: process.env.PATH, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '20' },
  });
  await output.close();
  const log = (): Promise<string> => readFile(file('log'), 'utf8');
  const end = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await rm(folder, { recursive: true, force: true });
  };
  const directory = `https://127.0.0.1:${port}/dir`;
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`pebble ended with ${child.exitCode}: ${await log()}`);
      return await answers(directory, authority.certificate);
    }, 60);
  } catch (error) {
    await end();
    throw error;
  }
  return { directory, authorities: authority.certificate, log, [Symbol.asyncDispose]: end };
}

function answers(url: string, ca: string): Promise<boolean> {
  return new Promise((resolve) => {
    const sent = request(url, { ca, agent: false }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode === 200));
    });
    sent.once('error', () => resolve(false));
    sent.end();
  });
}
