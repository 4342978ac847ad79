/** A certificate of somebody's own for the platform's domain, on a whole platform: clients see it, and ours still finds its way. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { finish, type TestPlatform, until } from './platform.ts';

export async function checkCertificate(
  platform: TestPlatform,
  { app, says }: { app: string; says: RegExp },
): Promise<void> {
  const { domain, ports } = platform.instance;
  const authority = await createAuthority({ commonName: 'brought', days: 1 });
  const pair = await issueCertificate(authority, {
    ...{ commonName: domain, dnsNames: [`*.${domain}`], usages: ['server'], days: 1 },
  });
  const file = (name: string): string => join(platform.directory, name);
  writeFileSync(file('brought-ca.crt'), authority.certificate);
  writeFileSync(file('brought.crt'), pair.certificate);
  writeFileSync(file('brought.key'), pair.key);
  const host = `${app}.${domain}`;
  const ask = (ca: string) =>
    finish('curl', [
      ...['-sS', '--cacert', ca, '--resolve', `${host}:${ports.https}:127.0.0.1`],
      `https://${host}:${ports.https}/`,
    ]);
  const own = join(platform.dataDirectory, 'pki', 'ca.crt');
  await platform.must('set-domain-certificate', domain, '--cert', file('brought.crt'), '--key', file('brought.key'));
  await until('it is offered', async () => says.test((await ask(file('brought-ca.crt'))).stdout));
  assert.notEqual((await ask(own)).code, 0, 'and no other');
  await until('it is said', async () =>
    /\n\S+ +uploaded +active +\d{4}-\d\d-\d\d/.test(await platform.must('domains')),
  );
  await platform.must('unset-domain-certificate', domain);
  await until("the instance's own is offered again", async () => says.test((await ask(own)).stdout));
}
