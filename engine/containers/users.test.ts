import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readInRoot } from '../sys/files.ts';
import { resolveUser } from './users.ts';

const files = {
  passwd:
    'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n# a comment\nbroken:x:\nbig:x:70000:70000::/:\n',
  group: 'root:x:0:\nstaff:x:50:app,other\nextra:x:60:app\nhuge:x:99999:\n',
};

const users: [string, unknown][] = [
  ['', { uid: 0, gid: 0, groups: [], home: '/root' }],
  ['app', { uid: 1000, gid: 1001, groups: [50, 60], home: '/home/app' }],
  ['1000', { uid: 1000, gid: 1001, groups: [50, 60], home: '/home/app' }],
  ['app:staff', { uid: 1000, gid: 50, groups: [], home: '/home/app' }],
  ['4242', { uid: 4242, gid: 0, groups: [], home: '/' }],
  ['4242:4343', { uid: 4242, gid: 4343, groups: [], home: '/' }],
];
for (const [user, expected] of users) {
  test(`user "${user}"`, () => assert.deepEqual(resolveUser(user, files), expected));
}

for (const user of ['nobody', 'app:none', 'a:b:c', 'big', 'app:huge', '70000', '-1', '99999999999']) {
  test(`user "${user}" is refused`, () => assert.throws(() => resolveUser(user, files), { code: 'invalid' }));
}

test('files of an image are read without leaving it', () => {
  const root = mkdtempSync(join(tmpdir(), 'sampan-root-'));
  try {
    mkdirSync(join(root, 'etc'));
    mkdirSync(join(root, 'real'));
    writeFileSync(join(root, 'real/passwd'), 'inside');
    symlinkSync('/real/passwd', join(root, 'etc/passwd'));
    symlinkSync('../../../../../../etc/hostname', join(root, 'etc/group'));
    symlinkSync('/proc/self/root/etc/hostname', join(root, 'etc/magic'));
    symlinkSync('loop', join(root, 'etc/loop'));
    assert.equal(readInRoot(root, 'etc/passwd')?.toString(), 'inside');
    for (const name of ['etc/group', 'etc/magic', 'etc/loop', 'etc/none', 'etc'])
      assert.equal(readInRoot(root, name), undefined, name);
  } finally {
    rmSync(root, { recursive: true });
  }
});
