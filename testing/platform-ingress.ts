/** An Ingress on a running platform: by kubectl and curl, to the Service of an app. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { finish, type TestPlatform, until } from './platform.ts';

const HOST = 'ingress.example.test';

export async function checkIngress(
  platform: TestPlatform,
  { namespace, app, says }: { namespace: string; app: string; says: RegExp },
): Promise<void> {
  const authority = await createAuthority({ commonName: 'ingress-test', days: 1 });
  const pair = await issueCertificate(authority, { commonName: HOST, dnsNames: [HOST], usages: ['server'], days: 1 });
  const file = (name: string, text: string): string => {
    const path = join(platform.directory, name);
    writeFileSync(path, text);
    return path;
  };
  const kubectl = (...words: string[]): Promise<string> => platform.mustKubectl('-n', namespace, ...words);
  const files = [`--cert=${file('tls.crt', pair.certificate)}`, `--key=${file('tls.key', pair.key)}`];
  await kubectl('create', 'secret', 'tls', 'ingress-tls', ...files);
  const labelled = `platform.sampan.dev/app-name=${app}`;
  const service = await kubectl('get', 'services', '-l', labelled, '-o', 'jsonpath={.items[0].metadata.name}');
  const port = await kubectl('get', 'service', service, '-o', 'jsonpath={.spec.ports[0].port}');
  await kubectl('create', 'ingress', 'by-hand', `--rule=${HOST}/hi*=${service}:${port},tls=ingress-tls`);
  const { https } = platform.instance.ports;
  const where = ['--resolve', `${HOST}:${https}:127.0.0.1`, '--cacert', file('ca.crt', authority.certificate)];
  const ask = async (path: string): Promise<string> =>
    (await finish('curl', ['-s', '-w', ' %{http_code}', ...where, `https://${HOST}:${https}${path}`], {})).stdout;
  await until('the Ingress is served', async () => (await ask('/hi')).endsWith(' 200'));
  assert.match(await ask('/hi/there'), says);
  assert.match(await ask('/hill'), / 404$/);
  const shown = / sampan +ingress\.example\.test +\d/;
  await until('it has its address', async () => shown.test(await kubectl('get', 'ingress')));
  await kubectl('delete', 'ingress/by-hand', 'secret/ingress-tls');
  await until('it is gone', async () => !(await ask('/hi')).endsWith(' 200'));
}
