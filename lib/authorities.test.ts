import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { createAuthority, issueCertificate } from './certificates.ts';

const run = promisify(execFile);
const library = join(import.meta.dirname, 'authorities.ts');

describe('whom a machine trusts', () => {
  let directory: string;
  let bundle: string;
  let server: Server;
  let url: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'authorities-'));
    bundle = join(directory, 'bundle.pem');
    const authority = await createAuthority({ commonName: 'the company', days: 1 });
    const pair = await issueCertificate(authority, { commonName: 'localhost', usages: ['server'], days: 1 });
    await writeFile(bundle, `# the company\n${authority.certificate}`);
    server = createServer({ cert: pair.certificate, key: pair.key }, (_request, response) => response.end('trusted'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `https://localhost:${(server.address() as AddressInfo).port}`;
  });

  after(async () => {
    server.close();
    await rm(directory, { recursive: true, force: true });
  });

  /** What a process of its own says that asks the server. */
  async function ask(statement: string, settings: Record<string, string>): Promise<string> {
    const { NODE_EXTRA_CA_CERTS: _extra, NODE_USE_SYSTEM_CA: _system, SSL_CERT_FILE: _bundle, ...rest } = process.env;
    const script = `
      const { machineAuthorities, outsideTls } = await import(${JSON.stringify(library)});
      const { get } = await import('node:https');
      const said = (options) => new Promise((resolve) =>
        get(${JSON.stringify(url)}, { ...options, agent: false }, (response) => response.on('data', (data) => resolve(String(data))))
          .on('error', (error) => resolve(error.code)));
      const fetched = () => fetch(${JSON.stringify(url)}).then((response) => response.text(), (error) => error.cause.code);
      console.log(${statement});`;
    const words = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
    return (await run(process.execPath, words, { env: { ...rest, ...settings } })).stdout.trim();
  }

  it('is trusted by who asks outside, and by fetch from then on', async () => {
    const settings = { SSL_CERT_FILE: bundle };
    assert.equal(await ask('await fetched()', settings), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    assert.equal(await ask('await said(outsideTls())', settings), 'trusted');
    assert.equal(await ask('(outsideTls(), await fetched())', settings), 'trusted');
  });

  it('is not trusted where that is not wished', async () => {
    const settings = { SSL_CERT_FILE: bundle, NODE_USE_SYSTEM_CA: '0' };
    assert.equal(await ask('await said(outsideTls())', settings), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  });

  it('is what Node brings where the machine has no bundle', async () => {
    const none = { SSL_CERT_FILE: join(directory, 'none.pem') };
    assert.ok(Number(await ask('machineAuthorities().length', none)) > 50);
    const one = Number(await ask('machineAuthorities().length', { SSL_CERT_FILE: bundle }));
    assert.equal(one, Number(await ask('machineAuthorities().length', none)) + 1);
  });

  it('has one more where a server has an authority of its own', async () => {
    const own = `(await import('node:fs')).readFileSync(${JSON.stringify(bundle)}, 'utf8')`;
    assert.equal(await ask(`await said(outsideTls(${own}))`, { SSL_CERT_FILE: '/dev/null' }), 'trusted');
  });
});
