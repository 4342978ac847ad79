/** Fields of volumes that only the node reads. */
import assert from 'node:assert/strict';
import { chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { podObject } from '#testing/agent-pod.ts';
import { giveToGroup } from './fs-group.ts';
import type { References } from './references.ts';
import { filesOf } from './volume-files.ts';

test('a token is asked for with its audience and life, and lies where it is wanted', async () => {
  const asked: object[] = [];
  const references: References = {
    configMap: async () => undefined,
    secret: async () => undefined,
    serviceAccountToken: async (request) => {
      asked.push(request);
      return 'a-token';
    },
    services: async () => [],
  };
  const place = {
    nodeName: 'n',
    hostIp: '192.0.2.1',
    hostIps: ['192.0.2.1'],
    podIp: '10.0.0.1',
    podIps: ['10.0.0.1'],
    allocatable: { cpus: 1, memoryBytes: 1, diskBytes: 1 },
  };
  const sources = [{ serviceAccountToken: { audience: 'vault', expirationSeconds: 1200, path: 'vault/token' } }];
  const files = await filesOf({ pod: podObject('p'), place, references }, { name: 'v', projected: { sources } });
  assert.deepEqual(asked, [{ audience: 'vault', expirationSeconds: 1200 }]);
  assert.deepEqual(
    files?.map(({ path, content }) => [path, Buffer.from(content).toString()]),
    [['vault/token', 'a-token']],
  );
});

test('fsGroupChangePolicy: OnRootMismatch looks at the root only', async () => {
  const root = await mkdtemp(join(tmpdir(), 'sampan-group-'));
  const file = join(root, 'inner', 'file');
  try {
    await mkdir(join(root, 'inner'));
    await writeFile(file, '');
    const group = async (path: string): Promise<number> => (await stat(path)).gid;
    await giveToGroup(root, 4321, false);
    assert.deepEqual([await group(root), await group(file)], [4321, 4321]);
    await chown(file, 0, 0);
    await giveToGroup(root, 4321, true);
    assert.equal(await group(file), 0);
    await giveToGroup(root, 4321, false);
    assert.equal(await group(file), 4321);
  } finally {
    await rm(root, { recursive: true });
  }
});
