/** Debian's slapd with a directory of a test, as a process of the test's own on the loopback, with and without TLS. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { freePort } from '#lib/ports.ts';
import { until } from './until.ts';

export interface Slapd extends AsyncDisposable {
  /** `ldap://127.0.0.1:PORT`, which speaks StartTLS too. */
  url: string;
  /** `ldaps://127.0.0.1:PORT` */
  tlsUrl: string;
  /** Signs its certificate, PEM. */
  authorities: string;
  rootDn: string;
  rootPassword: string;
  /** Signal 9. */
  kill(): Promise<void>;
}

const SUFFIX = 'dc=example,dc=org';
const ATTEMPTS = 5;

/** @param entries  LDIF below `dc=example,dc=org`, which is there */
export async function startSlapd(entries: string): Promise<Slapd> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(entries);
    } catch (error) {
      // A port that was free a moment ago is somebody's.
      if (attempt === ATTEMPTS || !/ended with/.test(String(error))) throw error;
    }
  }
}

async function startOnce(entries: string): Promise<Slapd> {
  const folder = await mkdtemp(join(tmpdir(), 'slapd-'));
  const file = (name: string): string => join(folder, name);
  const authority = await createAuthority({ commonName: 'slapd', days: 1 });
  const pair = await issueCertificate(authority, {
    ...{ commonName: 'localhost', dnsNames: ['localhost'], ips: ['127.0.0.1'] },
    ...{ usages: ['server'], days: 1 },
  });
  const [plain, tls] = [await freePort(), await freePort()];
  const rootDn = `cn=root,${SUFFIX}`;
  const rootPassword = 'between us';
  await mkdir(file('database'));
  await writeFile(file('ca.crt'), authority.certificate);
  await writeFile(file('server.crt'), pair.certificate);
  await writeFile(file('server.key'), pair.key, { mode: 0o600 });
  await writeFile(
    file('slapd.conf'),
    `${['core', 'cosine', 'inetorgperson'].map((name) => `include /etc/ldap/schema/${name}.schema`).join('\n')}
pidfile ${file('slapd.pid')}
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile ${file('ca.crt')}
TLSCertificateFile ${file('server.crt')}
TLSCertificateKeyFile ${file('server.key')}
database mdb
maxsize 16777216
suffix "${SUFFIX}"
rootdn "${rootDn}"
rootpw "${rootPassword}"
directory ${file('database')}
access to attrs=userPassword by anonymous auth
access to * by users read
`,
  );
  await writeFile(
    file('entries.ldif'),
    `dn: ${SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n${entries.trim()}\n`,
  );
  // Under its own name it may be confined to the directories of Debian's service.
  await copyFile('/usr/sbin/slapd', file('slapd'));
  await chmod(file('slapd'), 0o755);
  execFileSync(file('slapd'), ['-T', 'add', '-f', file('slapd.conf'), '-l', file('entries.ldif')], { stdio: 'pipe' });
  const output = await open(file('log'), 'w');
  const urls = [`ldap://127.0.0.1:${plain}`, `ldaps://127.0.0.1:${tls}`];
  const child = spawn(file('slapd'), ['-f', file('slapd.conf'), '-h', urls.join(' '), '-d', '0'], {
    stdio: ['ignore', output.fd, output.fd],
  });
  await output.close();
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  };
  const end = async (): Promise<void> => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await until(async () => {
      if (child.exitCode !== null)
        throw new Error(`slapd ended with ${child.exitCode}: ${await readFile(file('log'), 'utf8')}`);
      return (await listens(plain)) && (await listens(tls));
    }, 60);
  } catch (error) {
    await end();
    throw error;
  }
  const [url = '', tlsUrl = ''] = urls;
  return { url, tlsUrl, authorities: authority.certificate, rootDn, rootPassword, kill, [Symbol.asyncDispose]: end };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
