/** Debian's `docker-registry` (CNCF distribution) as a peer: with TLS, a password where asked, and a directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get as getPlain } from 'node:http';
import { get as getSecure } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '#lib/ports.ts';

export interface PeerRegistry extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
}

/** bcrypt of `secret`. */
const LOGIN = 'ann:$2y$04$7z1tfmS4DsHyl7vaplSrieCbYU/Jf5Rg7ajm404oIZHG3nlNGRm2m\n';

/** With `isOpen` everybody may do everything, else `ann` with the password `secret`. Without `tls` it speaks plain HTTP. */
export async function startPeerRegistry(options: {
  tls?: { cert: string; key: string };
  isOpen?: boolean;
}): Promise<PeerRegistry> {
  const directory = await mkdtemp(join(tmpdir(), 'peer-registry-'));
  const port = await freePort();
  const path = (name: string): string => join(directory, name);
  const { tls } = options;
  await writeFile(path('cert'), tls?.cert ?? '');
  await writeFile(path('key'), tls?.key ?? '');
  await writeFile(path('htpasswd'), LOGIN);
  const settings = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: path('data') }, delete: { enabled: true } },
    http: {
      addr: `127.0.0.1:${port}`,
      ...(tls === undefined ? {} : { tls: { certificate: path('cert'), key: path('key') } }),
    },
    ...(options.isOpen === true ? {} : { auth: { htpasswd: { realm: 'peer', path: path('htpasswd') } } }),
  };
  await writeFile(path('config.yml'), JSON.stringify(settings));
  const child = spawn('docker-registry', ['serve', path('config.yml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-4096);
  });
  await untilAnswers(child, { get: tls === undefined ? getPlain : getSecure, port }, () => said);
  return {
    host: `127.0.0.1:${port}`,
    port,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      if (child.exitCode === null && child.kill('SIGTERM')) await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** It has no way to say that it is ready. */
async function untilAnswers(
  child: ChildProcess,
  { get, port }: { get: typeof getSecure; port: number },
  said: () => string,
): Promise<void> {
  for (let round = 0; ; round += 1) {
    const answered = await new Promise<boolean>((resolve) => {
      get({ host: '127.0.0.1', port, path: '/v2/', rejectUnauthorized: false, agent: false }, (response) => {
        response.resume();
        resolve(true);
      }).on('error', () => resolve(false));
    });
    if (answered) return;
    if (round > 300 || child.exitCode !== null) throw new Error(`docker-registry did not start: ${said()}`);
    await delay(50);
  }
}
