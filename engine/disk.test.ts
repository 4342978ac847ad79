/** A small disk of its own as the data directory: it is kept between its watermarks, and when it is full nothing breaks. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { TarInput } from '#lib/tar/write.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';
import { type EngineHost, engineOptionsForTest, openEngineHost } from '#testing/engine-host.ts';
import { fsck } from './fsck/check.ts';
import { Watermarks } from './images/watermarks.ts';

const MiB = 1024 * 1024;
let base = '';
let host: EngineHost;
const logged: string[] = [];

const layerOf = (name: string, bytes: number): TarInput[] => [
  { name, type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 0, sizeBytes: bytes, data: randomBytes(bytes) },
];
const usedPercent = (): number => {
  const { blocks, bavail } = statfsSync(base);
  return ((blocks - bavail) / blocks) * 100;
};
const fill = (leaveBytes: number): void => {
  const { bavail, bsize } = statfsSync(base);
  execFileSync('fallocate', ['-l', String(Math.max(4096, bavail * bsize - leaveBytes)), join(base, 'ballast')]);
};
const drain = async (): Promise<void> => await rm(join(base, 'ballast'), { force: true });

describe('a small disk', { timeout: 300_000 }, () => {
  before(() => {
    base = mkdtempSync(join(tmpdir(), 'small-disk-'));
    const image = `${base}.img`;
    writeFileSync(image, '');
    // Unpacking leaves a quarter of a gigabyte free. Nothing of it is written: the file is sparse.
    truncateSync(image, 800 * MiB);
    execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image], {
      env: { ...process.env, PATH: `${process.env['PATH']}:/sbin:/usr/sbin` },
    });
    execFileSync('mount', ['-o', 'loop', image, base]);
  });
  after(() => {
    execFileSync('umount', [base]);
    rmSync(base, { recursive: true });
    rmSync(`${base}.img`);
  });
  beforeEach(async () => {
    logged.length = 0;
    const { instance } = engineOptionsForTest();
    mkdirSync(join(base, instance));
    host = await openEngineHost({
      sandboxPool: 0,
      dataDirectory: join(base, instance),
      log: (level, message, fields) => void logged.push(`${level} ${message} ${JSON.stringify(fields)}`),
    });
  });
  afterEach(async () => {
    await drain();
    await host[Symbol.asyncDispose]();
  });

  test('above the high watermark images go, oldest first, and none that is used', async () => {
    const { engine } = host;
    const { images } = engine;
    const names: string[] = [];
    for (const name of ['used', 'oldest', 'older', 'fresh'])
      names.push(await addBusyboxImage(images, { repository: name, entries: layerOf(`${name}.bin`, 8 * MiB) }));
    const [used = '', oldest = '', older = '', fresh = ''] = names;
    const sandbox = await engine.createSandbox({ name: 's', hostname: 's' });
    await engine.createContainer({ sandbox: sandbox.id, name: 'c', image: used });
    const age = (name: string, hours: number): void => {
      const at = new Date(Date.now() - hours * 3_600_000);
      const found = images.get(name);
      utimesSync(images.content.path(found?.digest ?? '') ?? '', at, at);
      const own = found?.config.layers.at(-1)?.slice('sha256:'.length) ?? '';
      utimesSync(join(images.content.directory, 'layers', own), at, at);
    };
    for (const [name, hours] of [
      [used, 9],
      [oldest, 8],
      [older, 7],
    ] as const)
      age(name, hours);
    const now = usedPercent();
    // So that one image has to go, and no more.
    await using keeper = keeperOf(now - 0.5, now - 0.9);
    await keeper.watermarks.look();
    assert.equal(images.get(oldest), undefined);
    assert.ok(images.get(older) !== undefined && images.get(used) !== undefined && images.get(fresh) !== undefined);
    assert.match(logged.join('\n'), /info freed disk space by removing images .*oldest/);
    // Below what can be had: everything unused goes, and it is said once that this was not enough.
    await using second = keeperOf(2, 1);
    await second.watermarks.look();
    await second.watermarks.look();
    assert.equal(images.get(older), undefined);
    assert.ok(images.get(used) !== undefined && images.get(fresh) !== undefined, 'used and fresh ones stay');
    assert.equal(logged.filter((line) => line.startsWith('warn the disk is above')).length, 1);
    await engine.removeSandbox(sandbox.id);
  });

  test('the engine keeps to its watermarks by itself, when something is written', async () => {
    await host.engine.close();
    const now = usedPercent();
    const { instance, dataDirectory } = host.options;
    assert.ok(instance !== '' && dataDirectory.startsWith(base));
    Object.assign(host.options, {
      diskWatermarks: { highPercent: now + 3, lowPercent: now + 2, graceMilliseconds: 0 },
    });
    await host.reopen();
    const { images } = host.engine;
    const gone = host.engine.events();
    const image = await addBusyboxImage(images, { repository: 'big', entries: layerOf('big.bin', 16 * MiB) });
    for await (const { type, id } of gone) if (type === 'image-removed' && id === image) break;
    assert.equal(images.get(image), undefined);
  });

  test('a full disk tears no volume: what was set aside is there, and no more is promised', async () => {
    const { diskVolumes } = host.engine;
    const { path } = await diskVolumes.mount({ name: 'safe', sizeBytes: 64 * MiB });
    fill(MiB);
    const refused = {
      code: 'exhausted',
      message: /volume "\w+": no space for \d+ MiB on the disk of .* must stay free/,
    };
    await assert.rejects(diskVolumes.mount({ name: 'late', sizeBytes: 16 * MiB }), refused);
    await assert.rejects(diskVolumes.mount({ name: 'safe', sizeBytes: 128 * MiB }), refused);
    const content = randomBytes(40 * MiB);
    writeFileSync(join(path, 'content'), content, { flush: true });
    await diskVolumes.unmount('safe');
    await host.reopen();
    const again = await host.engine.diskVolumes.mount({ name: 'safe', sizeBytes: 64 * MiB });
    assert.ok(content.equals(readFileSync(join(again.path, 'content'))));
    await drain();
    await host.engine.diskVolumes.unmount('safe');
    assert.equal((await host.engine.diskVolumes.mount({ name: 'safe', sizeBytes: 128 * MiB })).sizeBytes, 128 * MiB);
    await host.engine.diskVolumes.remove('safe');
    assert.deepEqual(host.engine.diskVolumes.list(), []);
  });

  test('a full disk is an error in time, and nothing is broken after it', async () => {
    const { engine, image } = host;
    const sandbox = await engine.createSandbox({ name: 's', hostname: 's' });
    const create = async (name: string, script: string) =>
      await engine.createContainer({ sandbox: sandbox.id, name, image, command: ['sh', '-c', script] });
    const noisy = await create('noisy', 'while :; do echo noise noise noise noise noise noise; done');
    const writer = await create('writer', 'while :; do dd if=/dev/zero of=/$i bs=64k; i=$((i+1)); done 2>/dev/null');
    const late = await create('late', 'true');
    await engine.startContainer(noisy.id);
    fill(64 * MiB);
    await engine.startContainer(writer.id);
    for (const deadline = Date.now() + 20_000; usedPercent() < 99.99; ) {
      assert.ok(Date.now() < deadline, 'it fills');
      await new Promise((resolve) => setImmediate(resolve));
    }
    const content = engine.content;
    await assert.rejects(content.write(randomBytes(4 * MiB), {}), { code: 'ENOSPC' });
    await assert.rejects(addBusyboxImage(engine.images, { repository: 'more', entries: layerOf('more.bin', 4 * MiB) }));
    const upload = await content.startUpload();
    await assert.rejects(content.appendUpload(upload, 0, chunks(4 * MiB)), { code: 'ENOSPC' });
    await assert.rejects(engine.startContainer(late.id), { code: 'exhausted', message: /no space left on device/ });
    let made = 0;
    const refused = await (async () => {
      for (; made < 200; made += 1) await create(`one-${made}`, 'true');
      return undefined;
    })().catch((error: unknown) => error);
    assert.equal((refused as { code?: string }).code, 'exhausted', String(refused));
    assert.match(String(refused), /no space left on device/);
    // An end is learned of while nothing can be written.
    await engine.killContainer(noisy.id, 9);
    assert.equal((await engine.waitContainer(noisy.id)).signal, 9);
    await engine.removeContainer(writer.id, { force: true });
    await drain();
    await content.cancelUpload(upload);
    // After it, all works; and an engine that begins anew knows how the container ended.
    await host.reopen();
    assert.equal(host.engine.container(noisy.id)?.exit?.signal, 9);
    const again = await host.engine.createContainer({ sandbox: sandbox.id, name: 'again', image, command: ['true'] });
    await host.engine.startContainer(again.id);
    assert.equal((await host.engine.waitContainer(again.id)).code, 0);
    await addBusyboxImage(host.engine.images, { repository: 'more', entries: layerOf('more.bin', MiB) });
    await host.engine.removeSandbox(sandbox.id);
    const report = await fsck({ engine: host.options });
    assert.deepEqual(report.problems, []);
  });
});

function keeperOf(highPercent: number, lowPercent: number): { watermarks: Watermarks } & AsyncDisposable {
  const { engine } = host;
  const watermarks = new Watermarks({
    images: engine.images,
    inUse: () => engine.containers().map(({ imageDigest }) => imageDigest),
    log: (level, message, fields) => void logged.push(`${level} ${message} ${JSON.stringify(fields)}`),
    highPercent,
    lowPercent,
  });
  return { watermarks, [Symbol.asyncDispose]: () => watermarks.close() };
}

async function* chunks(bytes: number): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < bytes; sent += MiB) yield randomBytes(MiB);
}
