import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { hostKeyOf, newHostKey } from './host-key.ts';

test('a key that ssh2 makes and cannot read is not taken', async (context) => {
  const good = ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 });
  const made = context.mock.method(ssh2.utils, 'generateKeyPairSync', () => good);
  made.mock.mockImplementationOnce(() => ({ ...good, private: 'nothing that can be read' }));
  assert.equal(await newHostKey(), good.private);
  assert.equal(made.mock.callCount(), 2);
});

test('the fingerprint is that of the public key, of every kind; what is cut off has none', async () => {
  const rsa = ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 }).private;
  const ecdsa = ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }).private;
  for (const key of [await newHostKey(), rsa, ecdsa]) {
    const read = ssh2.utils.parseKey(key);
    assert.ok(!(read instanceof Error));
    const digest = createHash('sha256').update(read.getPublicSSH()).digest('base64');
    assert.equal(`${hostKeyOf(key).fingerprint}=`, digest);
  }
  for (const wrong of [
    '',
    'x',
    rsa.slice(0, 90),
    rsa.replace('OPENSSH', 'RSA'),
    `${rsa.slice(0, 120)}\n-----END OPENSSH PRIVATE KEY-----\n`,
  ])
    assert.throws(() => hostKeyOf(wrong), /no private key of OpenSSH's form: delete it/);
});
