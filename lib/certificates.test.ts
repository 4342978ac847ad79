import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import tls from 'node:tls';
import { CertificateError, createAuthority, issueCertificate } from './certificates.ts';

test('certificates: a server and a client trust each other through the authority', async () => {
  const authority = await createAuthority({ commonName: 'test-ca', days: 1 });
  const server = await issueCertificate(authority, {
    commonName: 'server',
    dnsNames: ['sampan.test'],
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const client = await issueCertificate(authority, {
    commonName: 'jane',
    organizations: ['system:masters', 'dev'],
    usages: ['client'],
    days: 1,
  });
  const listener = tls.createServer(
    {
      cert: server.certificate,
      key: server.key,
      ca: authority.certificate,
      requestCert: true,
      rejectUnauthorized: true,
    },
    (socket) => {
      const { subject } = socket.getPeerCertificate();
      socket.end(JSON.stringify({ CN: subject.CN, O: subject.O }));
    },
  );
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  try {
    for (const servername of ['sampan.test', undefined]) {
      const socket = tls.connect({
        host: '127.0.0.1',
        port,
        ca: authority.certificate,
        cert: client.certificate,
        key: client.key,
        ...(servername ? { servername } : {}),
      });
      const [data] = (await once(socket, 'data')) as [Buffer];
      assert.equal(socket.authorized, true);
      assert.deepEqual(JSON.parse(data.toString()), { CN: 'jane', O: ['system:masters', 'dev'] });
      socket.destroy();
    }
    const stranger = await createAuthority({ commonName: 'other-ca', days: 1 });
    const refused = tls.connect({ host: '127.0.0.1', port, ca: stranger.certificate });
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
    assert.match(error.code ?? '', /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED/);
  } finally {
    listener.close();
  }
});

test('certificates: an authority is one, a leaf is none, and both are valid now', async () => {
  const authority = await createAuthority({ commonName: 'test-ca', days: 2 });
  const leaf = await issueCertificate(authority, { commonName: 'x', usages: ['client', 'server'], days: 1 });
  const ca = new X509Certificate(authority.certificate);
  const certificate = new X509Certificate(leaf.certificate);
  assert.equal(ca.ca, true);
  assert.equal(certificate.ca, false);
  assert.equal(certificate.checkIssued(ca), true);
  assert.equal(certificate.verify(ca.publicKey), true);
  assert.ok(certificate.validFromDate.getTime() < Date.now());
  assert.ok(certificate.validToDate.getTime() > Date.now());
});

test('certificates: what cannot be issued is refused', async () => {
  const authority = await createAuthority({ commonName: 'test-ca', days: 1 });
  await assert.rejects(issueCertificate(authority, { commonName: 'x', usages: [], days: 1 }), CertificateError);
  await assert.rejects(
    issueCertificate(authority, { commonName: 'x', usages: ['client'], days: 0 }),
    /"days" is 0, expected more than 0/,
  );
  await assert.rejects(
    issueCertificate({ certificate: 'x', key: 'y' }, { commonName: 'x', usages: ['client'], days: 1 }),
    /Cannot read the authority/,
  );
});
