import assert from 'node:assert/strict';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { newHostKey } from './host-key.ts';

test('a key that ssh2 makes and cannot read is not taken', (context) => {
  const good = ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 });
  const made = context.mock.method(ssh2.utils, 'generateKeyPairSync', () => good);
  made.mock.mockImplementationOnce(() => ({ ...good, private: 'nothing that can be read' }));
  assert.equal(newHostKey(), good.private);
  assert.equal(made.mock.callCount(), 2);
});
