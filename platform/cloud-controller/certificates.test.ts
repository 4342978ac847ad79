import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';
import { secrets } from '../resources/kubernetes.ts';
import { domainCertificates, systemNamespace } from '../resources/types.ts';
import { putUser } from '../uaa/users.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';

let cloud: TestCloud;
let domain: string;
let authority: KeyPair;

before(async () => {
  cloud = await startTestCloud();
  domain = String((await cloud.json('POST', '/v3/domains', { name: 'shop.test' })).guid);
  authority = await createAuthority({ commonName: 'brought', days: 10 });
});
after(() => cloud?.close());

const issued = (dnsNames: string[]): Promise<KeyPair> =>
  issueCertificate(authority, { commonName: dnsNames[0] ?? '', dnsNames, usages: ['server'], days: 5 });

const listed = async (of = domain, token = cloud.token): Promise<Json[]> =>
  (await cloud.call('GET', `/v3/domains/${of}/certificates`, undefined, { token })).body.resources as Json[];

test('a certificate of one’s own is put down, replaced and taken back', async () => {
  const pair = await issued(['*.shop.test', 'shop.test', 'other.test']);
  const put = (body: Json) => cloud.call('PUT', `/v3/domains/${domain}/certificate`, body);
  const answer = await put({ certificate: pair.certificate + authority.certificate, private_key: pair.key });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.source, 'uploaded');
  assert.deepEqual(answer.body.hosts, ['*.shop.test', 'shop.test']);
  const secret = await cloud.plane.client.get(secrets, `certificate-uploaded-${domain}`, systemNamespace);
  const kept = Buffer.from(secret.data?.['tls.crt'] ?? '', 'base64').toString();
  assert.equal(kept.match(/BEGIN CERTIFICATE/g)?.length, 2, 'the chain is kept');
  assert.ok(!answer.text.includes('PRIVATE'), 'no key comes out again');
  const next = await issued(['www.shop.test']);
  assert.deepEqual((await put({ certificate: next.certificate, private_key: next.key })).body.hosts, ['www.shop.test']);
  assert.equal((await listed()).length, 1);
  assert.deepEqual(
    ((await cloud.json('GET', `/v3/audit_events?target_guids=${domain}`)).resources as Json[])
      .map(({ type }) => type)
      .filter((type) => String(type).startsWith('audit.domain.certificate')),
    ['audit.domain.certificate-upload', 'audit.domain.certificate-upload'],
  );
  for (let again = 0; again < 2; again++)
    assert.equal((await cloud.call('DELETE', `/v3/domains/${domain}/certificate`)).status, 204);
  assert.deepEqual(await listed(), []);
  await assert.rejects(cloud.plane.client.get(secrets, `certificate-uploaded-${domain}`, systemNamespace), {
    code: 404,
  });
});

test('what is no certificate for the domain is refused, and says why', async () => {
  const pair = await issued(['*.shop.test']);
  const stranger = await issued(['shop.test.evil.test', 'xshop.test']);
  for (const [body, message] of [
    [{}, /Certificate must be there/],
    [{ certificate: 'x', private_key: pair.key }, /The certificate must be PEM/],
    [{ certificate: pair.certificate, private_key: 'x' }, /The private key must be PEM/],
    [{ certificate: pair.certificate, private_key: stranger.key }, /is that of another certificate/],
    [{ certificate: stranger.certificate, private_key: stranger.key }, /and not for shop\.test or \*\.shop\.test/],
    [{ certificate: pair.certificate, private_key: pair.key, more: 1 }, /Unknown field/],
  ] as [Json, RegExp][]) {
    const { status, text } = await cloud.call('PUT', `/v3/domains/${domain}/certificate`, body);
    assert.equal(status, 422, text);
    assert.match(text, message);
  }
  assert.deepEqual(await listed(), []);
});

test('on a shared domain people see certificates of routes that they see', async () => {
  await putUser(cloud.plane.client, { username: 'visitor', password: 'secret', groups: [] });
  const token = String((await cloud.login('visitor', 'secret')).body.access_token);
  for (const [name, source, hosts] of [
    ['own-1', 'own', ['shop.test', '*.shop.test']],
    ['acme-1', 'acme', ['web.shop.test']],
  ] as const)
    await cloud.plane.client.create(domainCertificates, {
      metadata: { name },
      spec: { source, domain, hosts: [...hosts] },
    });
  await cloud.until('both are there', async () => ((await listed()).length === 2 ? true : undefined));
  assert.deepEqual(
    (await listed(domain, token)).map(({ source }) => source),
    ['own'],
  );
});
