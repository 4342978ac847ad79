import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority } from '#lib/certificates.ts';
import { HostError } from './host-error.ts';
import { keptRouter, type RouterFlags, routerChanges } from './router-flags.ts';

async function inDirectory(body: (data: string) => Promise<void> | void): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'sampan-router-flags-'));
  try {
    await body(data);
  } finally {
    rmSync(data, { recursive: true });
  }
}

function apply(data: string, flags: RouterFlags): number {
  const changes = routerChanges(data, flags);
  for (const { path, content = '' } of changes) writeFileSync(path, content);
  return changes.length;
}

test('each flag stays until it is given anew, and an empty one takes it back', () =>
  inDirectory(async (data) => {
    const { certificate } = await createAuthority({ commonName: 'pebble', days: 1 });
    const [ca, mac] = [join(data, 'pebble.crt'), join(data, 'mac')];
    writeFileSync(ca, certificate);
    writeFileSync(mac, 'c2VjcmV0LW9mLXRoZS1hY2NvdW50\n');
    assert.equal(apply(data, {}), 0);
    const first = {
      ...{ acme: 'https://acme.example.com/dir', acmeAgreeTerms: true, acmeEmail: 'ops@example.com' },
      ...{ acmeCaBundle: ca, acmeEabKeyId: 'us', acmeEabHmacKeyFile: mac },
    };
    assert.equal(apply(data, first), 1);
    assert.equal(apply(data, first), 0);
    const acme = {
      directory: 'https://acme.example.com/dir',
      email: 'ops@example.com',
      authorities: certificate,
      binding: { keyId: 'us', hmacKey: 'c2VjcmV0LW9mLXRoZS1hY2NvdW50' },
    };
    assert.deepEqual(keptRouter(data), { acme });
    for (const file of [ca, mac]) rmSync(file);
    assert.equal(apply(data, { acmeEmail: '', acmeCaBundle: '', acmeEabKeyId: '' }), 1);
    assert.deepEqual(keptRouter(data), { acme: { directory: acme.directory } });
    assert.equal(apply(data, { acme: 'letsencrypt', acmeAgreeTerms: true }), 1);
    assert.equal(keptRouter(data).acme?.directory, 'https://acme-v02.api.letsencrypt.org/directory');
    assert.equal(apply(data, { acme: '' }), 1);
    assert.deepEqual(keptRouter(data), {});
    writeFileSync(ca, certificate);
    assert.equal(apply(data, { clientCa: ca, tlsMinVersion: '1.3', tlsCiphers: 'TLS_AES_256_GCM_SHA384' }), 1);
    assert.equal(apply(data, { clientCertValidation: 'require', forwardedClientCert: 'forward' }), 1);
    assert.deepEqual(keptRouter(data).tls, {
      minimum: '1.3',
      ciphers: ['TLS_AES_256_GCM_SHA384'],
      clients: { authorities: certificate, required: true },
      forwarded: 'forward',
    });
    assert.equal(apply(data, { clientCa: '', tlsMinVersion: '', tlsCiphers: '', forwardedClientCert: '' }), 1);
    assert.deepEqual(keptRouter(data), {});
  }));

test('what cannot be used is refused, and nothing changes', () =>
  inDirectory((data) => {
    const directory = { acme: 'https://acme.example.com/dir', acmeAgreeTerms: true };
    writeFileSync(join(data, 'empty'), '');
    for (const [flags, message] of [
      [{ acme: 'https://acme.example.com/dir' }, /nobody has agreed to its terms of service/],
      [{ acme: 'http://acme.example.com/dir', acmeAgreeTerms: true }, /as --acme: it is no https URL/],
      [{ acmeEmail: 'ops@example.com' }, /there is no server to which the other flags belong/],
      [{ ...directory, acmeEmail: 'ops' }, /"ops" as --acme-email: it is no address of mail/],
      [{ ...directory, acmeCaBundle: join(data, 'none') }, /as --acme-ca-bundle: ENOENT/],
      [{ ...directory, acmeCaBundle: join(data, 'empty') }, /it holds no certificate/],
      [{ clientCa: join(data, 'empty') }, /as --client-ca: it holds no certificate/],
      [{ clientCertValidation: 'require' }, /nobody is named whose certificates count/],
      [{ clientCertValidation: 'maybe' }, /"maybe" as --client-cert-validation/],
      [{ forwardedClientCert: 'x' }, /"x" as --forwarded-client-cert/],
      [{ tlsMinVersion: '1.1' }, /"1\.1" as --tls-min-version/],
      [{ tlsCiphers: 'NONE\nx' }, /as --tls-ciphers: OpenSSL does not know it/],
      [{ ...directory, acmeEabKeyId: 'us' }, /it goes with --acme-eab-hmac-key-file/],
      [{ ...directory, acmeEabKeyId: 'us', acmeEabHmacKeyFile: join(data, 'empty') }, /it holds no key in base64url/],
    ] as [RouterFlags, RegExp][])
      assert.throws(
        () => routerChanges(data, flags),
        (error: unknown) => error instanceof HostError && error.code === 'invalid-flag' && message.test(error.message),
        JSON.stringify(flags),
      );
    // Another server has other terms.
    apply(data, directory);
    assert.throws(() => routerChanges(data, { acme: 'letsencrypt' }), /nobody has agreed/);
    assert.equal(keptRouter(data).acme?.directory, directory.acme);
  }));
