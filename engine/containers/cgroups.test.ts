import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detectCgroups } from './cgroups.ts';

const line = (target: string, type: string, options: string): string =>
  `30 24 0:26 / ${target} rw,nosuid - ${type} ${type} ${options}`;

test('one hierarchy', () => {
  const found = detectCgroups(line('/sys/fs/cgroup', 'cgroup2', 'rw,nsdelegate'));
  assert.equal(found.version, 'v2');
  assert.deepEqual([...found.roots], [['', '/sys/fs/cgroup']]);
});

test('controllers apart, two in one mount, with a v2 beside', () => {
  const found = detectCgroups(
    [
      line('/sys/fs/cgroup', 'tmpfs', 'rw'),
      line('/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'rw,cpu,cpuacct'),
      line('/sys/fs/cgroup/memory', 'cgroup', 'rw,memory'),
      line('/sys/fs/cgroup/systemd', 'cgroup', 'rw,xattr,name=systemd'),
      line('/sys/fs/cgroup/unified', 'cgroup2', 'rw'),
    ].join('\n'),
  );
  assert.equal(found.version, 'v1');
  assert.equal(found.roots.get('cpuacct'), '/sys/fs/cgroup/cpu,cpuacct');
  assert.equal(found.roots.get('name=systemd'), '/sys/fs/cgroup/systemd');
  assert.equal(found.roots.get('unified'), '/sys/fs/cgroup/unified');
});

test('none at all', () => {
  assert.throws(() => detectCgroups(line('/', 'ext4', 'rw')), { code: 'unavailable' });
});
