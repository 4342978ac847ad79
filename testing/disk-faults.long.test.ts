/**
 * The disk that the state of a cluster is on: full, read-only after an error, with a damaged database, and without one. Each is told
 * with what mends it, nothing that was acknowledged is lost, what runs goes on, and so does the cluster when the fault is gone.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { ApiError } from '#cluster/client/client.ts';
import { configMaps, pods } from '#cluster/kinds/resources.ts';
import { ClusterUnderFire } from './cluster-kill/cluster.ts';
import { configMap, deployment } from './cluster-kill/desired.ts';
import { apiWriter, namespace } from './cluster-kill/writer.ts';
import { until } from './platform.ts';

const MiB = 1024 * 1024;
let cluster: ClusterUnderFire;
/** Of every ConfigMap that was acknowledged. */
const written = new Set<string>();

const place = (): string => join(cluster.dataDirectory, 'cluster');
let image = 'disk.img';
const disk = (): string => join(cluster.directory, image);
const backup = (): string => join(cluster.directory, 'backup');
const database = (): string => join(place(), 'store.db');

function mountDisk(): void {
  execFileSync('mount', ['-o', 'loop,errors=remount-ro', disk(), place()]);
}

/** The state's directory is a file system of its own. */
function prepare(under: ClusterUnderFire): void {
  cluster = under;
  writeFileSync(disk(), '');
  truncateSync(disk(), 48 * MiB);
  execFileSync('mkfs.ext4', ['-q', '-F', disk()]);
  mkdirSync(place(), { recursive: true, mode: 0o700 });
  mountDisk();
}

/** Writes until the disk takes no more, or as often as is asked for. @returns what was said then */
async function write(count: number): Promise<ApiError | undefined> {
  for (let index = 0; index < count; index += 1) {
    const name = `map-${written.size}`;
    try {
      await cluster.client.create(configMaps, {
        metadata: { name, namespace },
        data: { filler: 'x'.repeat(200_000) },
      });
      written.add(name);
    } catch (error) {
      assert.ok(error instanceof ApiError);
      return error;
    }
  }
  return undefined;
}

async function allAreThere(): Promise<void> {
  const { items } = await cluster.client.list(configMaps, { namespace });
  const found = new Set(items.map(({ metadata }) => metadata.name));
  assert.deepEqual(
    [...written].filter((name) => !found.has(name)),
    [],
  );
}

const isReady = async (): Promise<boolean> => {
  const { items } = await cluster.client.list(pods, { namespace });
  return items.length === 1 && items[0]?.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
};

const containers = (): string =>
  cluster
    .contained()
    .processes.toSorted((a, b) => a - b)
    .join();

describe('the disk of the state', { concurrency: 1 }, () => {
  let running = '';
  before(async () => {
    await ClusterUnderFire.open('disk', { prepare });
    const writer = apiWriter(cluster);
    await writer.apply(configMap('settings', 'x'));
    await writer.apply(deployment('web', { replicas: 1, turn: '1' }, 'Recreate'));
    await until('a pod to be ready', isReady, 120);
    running = containers();
    assert.notEqual(running, '');
  });
  after(async () => {
    // What a removal finds of a mount it cannot remove.
    await cluster.killWithKeepers();
    execFileSync('umount', [place()]);
    await cluster.close();
  });

  test('full: writes are refused and reads served, also by a server that begins then; with room it goes on', async () => {
    assert.equal(await write(5), undefined);
    const filler = join(place(), 'filler');
    fill(filler);
    const refused = await write(1000);
    assert.equal(refused?.code, 503);
    assert.match(refused.message, /the disk is full: free some space/);
    await allAreThere();
    // An agent would wait until its node can be written.
    await cluster.kill('server');
    await cluster.ready(['server']);
    await allAreThere();
    const again = await write(1000);
    assert.match(again?.message ?? '', /the disk is full: free some space/);
    rmSync(filler);
    await until('room again', async () => (await write(1)) === undefined);
    assert.equal(await write(5), undefined);
    await allAreThere();
    assert.equal(containers(), running, 'what runs was left alone');
  });

  test('read-only after an error: writes are refused and reads served; checked and mounted again it goes on', async () => {
    await cluster.must('backup', backup());
    const device = execFileSync('findmnt', ['-n', '-o', 'SOURCE', place()], { encoding: 'utf8' }).trim();
    writeFileSync(join('/sys/fs/ext4', basename(device), 'trigger_fs_error'), 'a test');
    const refused = await write(100);
    assert.equal(refused?.code, 503);
    assert.match(refused.message, /read-only/);
    await allAreThere();
    await cluster.killWithKeepers();
    const failed = await cluster.sampan('cluster');
    assert.notEqual(failed.code, 0);
    assert.match(failed.stderr, /The server cannot start: .*(read-only|cannot be opened)/);
    await cluster.killWithKeepers();
    execFileSync('umount', [place()]);
    // A copy: somebody else's mount namespace may still hold the old one. The check's status says that it mended something.
    copyFileSync(disk(), `${disk()}.checked`);
    image += '.checked';
    spawnSync('e2fsck', ['-f', '-y', disk()]);
    mountDisk();
    await cluster.up();
    await allAreThere();
    assert.equal(await write(3), undefined);
    assert.equal(containers(), running, 'what runs was left alone');
  });

  for (const [what, harm, told] of [
    ['damaged', damage, /the database is damaged .*: restore a backup/],
    ['lost', () => removeDatabase(), /the database is lost: restore a backup/],
  ] as const) {
    test(`${what}: nothing is made of it, nothing that runs is touched, and a backup brings it back`, async () => {
      await cluster.killWithKeepers();
      harm();
      const { code, stderr } = await cluster.sampan('cluster');
      assert.notEqual(code, 0);
      assert.match(stderr, told);
      assert.equal(containers(), running, 'what runs was left alone');
      await cluster.must('down');
      await cluster.must('restore', backup());
      await cluster.up();
      // What was written after the backup is not in it.
      const { items } = await cluster.client.list(configMaps, { namespace });
      assert.ok(items.filter(({ metadata }) => metadata.name.startsWith('map-')).length >= 11);
      await until('the pod to run again', isReady, 180);
      running = containers();
    });
  }
});

/** To the last block. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (const size of [MiB, 4096]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    }
  } finally {
    closeSync(file);
  }
}

/** Every page but the first, as a disk does that forgot them. */
function damage(): void {
  const whole = new DatabaseSync(database());
  whole.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  whole.close();
  const bytes = readFileSync(database());
  for (let at = 4096; at < bytes.length; at += 4096) bytes.fill(0xff, at, at + 64);
  writeFileSync(database(), bytes);
}

function removeDatabase(): void {
  for (const ending of ['', '-wal', '-shm']) rmSync(database() + ending, { force: true });
}
