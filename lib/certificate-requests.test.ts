import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey, createPublicKey } from 'node:crypto';
import test from 'node:test';
import { CertificateError, createAuthority } from './certificates.ts';
import { createRequest, readRequest, signRequest } from './certificate-requests.ts';

const subject = {
  commonName: 'system:node:a',
  organizations: ['system:nodes'],
  dnsNames: ['a'],
  ips: ['192.0.2.1'],
  emails: ['a@example.com'],
  uris: ['https://a.example.com/'],
};

test('a request is read as it was made, and signed for its key with what the signer says', async () => {
  const authority = await createAuthority({ commonName: 'ca', days: 1 });
  const { request, key } = await createRequest(subject);
  assert.deepEqual(await readRequest(request), {
    commonNames: ['system:node:a'],
    organizations: ['system:nodes'],
    dnsNames: ['a'],
    ips: ['192.0.2.1'],
    emails: ['a@example.com'],
    uris: ['https://a.example.com/'],
    otherNames: [],
  });
  const signed = await signRequest(authority, request, {
    commonName: 'other',
    ips: ['192.0.2.2'],
    emails: ['b@example.com'],
    uris: ['spiffe://example.com/b'],
    usages: ['server'],
    seconds: 7 * 86_400,
  });
  const certificate = new X509Certificate(signed);
  assert.equal(certificate.subject, 'CN=other');
  assert.equal(certificate.subjectAltName, 'IP Address:192.0.2.2, email:b@example.com, URI:spiffe://example.com/b');
  assert.ok(certificate.verify(createPublicKey(authority.certificate)));
  assert.ok(certificate.checkPrivateKey(createPrivateKey(key)));
  // Never longer than its authority.
  assert.equal(certificate.validTo, new X509Certificate(authority.certificate).validTo);
});

test('what is no request, or was made with another key, is not signed', async () => {
  const authority = await createAuthority({ commonName: 'ca', days: 1 });
  const { request } = await createRequest(subject);
  const der = Buffer.from(request.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  for (const pem of [forged, 'nothing'])
    await assert.rejects(
      signRequest(authority, pem, { commonName: 'a', usages: ['client'], seconds: 60 }),
      CertificateError,
    );
});
