import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lockout } from './lockout.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { userGuid } from './users.ts';

test('passwords: the right one alone, salted, and rubbish is no hash', async () => {
  const [one, two] = await Promise.all([hashPassword('geheim'), hashPassword('geheim')]);
  assert.notEqual(one, two);
  assert.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  assert.equal(await verifyPassword('geheim', one), true);
  assert.equal(await verifyPassword('Geheim', one), false);
  assert.equal(await verifyPassword('geheim', 'rubbish'), false);
  assert.equal(await verifyPassword('x'.repeat(2000), one), false);
});

test('lock-out: five failures are free, then the wait doubles, and success forgets', () => {
  let now = 1_000_000;
  const lockout = new Lockout(() => now);
  for (let attempt = 0; attempt < 4; attempt++) lockout.failed('Joe');
  assert.equal(lockout.remaining('joe'), 0);
  lockout.failed('joe');
  assert.equal(lockout.remaining('JOE'), 5_000);
  now += 5_000;
  assert.equal(lockout.remaining('joe'), 0);
  lockout.failed('joe');
  assert.equal(lockout.remaining('joe'), 10_000);
  lockout.succeeded('joe');
  assert.equal(lockout.remaining('joe'), 0);
  for (let attempt = 0; attempt < 40; attempt++) lockout.failed('joe');
  assert.equal(lockout.remaining('joe'), 15 * 60_000);
});

test('users: one guid for each name, whatever its case', () => {
  assert.equal(userGuid('Admin'), userGuid('admin'));
  assert.notEqual(userGuid('admin'), userGuid('admin', 'ldap'));
  assert.match(userGuid('admin'), /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
});
