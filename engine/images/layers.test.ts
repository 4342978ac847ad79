import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { bootId } from '#lib/boot-id.ts';
import { digestOf } from '#lib/digest.ts';
import { writeTar } from '#lib/tar/write.ts';
import { openContentStore } from './content.ts';
import { Layers } from './layers.ts';

const directory = mkdtempSync(join(tmpdir(), 'layers-'));
const content = openContentStore(directory);
const data = Buffer.from('whole');
const header = { name: 'file', type: 'file' as const, mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 0 };
const tar = await buffer(writeTar([{ ...header, sizeBytes: data.length, data }]));
const digest = digestOf(tar);
await content.write(tar, { digest });
const path = join(directory, 'layers', digest.slice(7));
const recordFile = join(path, 'layer.json');

interface Kept {
  sizeBytes: number;
  boot?: string;
}

const kept = (): Kept => JSON.parse(readFileSync(recordFile, 'utf8')) as Kept;

async function untilOnDisk(): Promise<void> {
  for (const end = Date.now() + 60_000; kept().boot !== undefined; await delay(20)) assert.ok(Date.now() < end);
}

after(() => rmSync(directory, { recursive: true }));

test('a layer can be used at once, and is on the disk a moment later', async () => {
  const layers = new Layers(content);
  assert.equal(layers.directory(digest), undefined);
  await layers.ensure(digest, digest);
  assert.equal(readFileSync(join(layers.directory(digest) ?? '', 'file'), 'utf8'), 'whole');
  assert.equal(layers.sizeBytes(digest), 5);
  await untilOnDisk();
  assert.equal(kept().sizeBytes, 5);
  await layers.close();
});

test('what a killed process left is used, and written out by the next', async () => {
  writeFileSync(recordFile, JSON.stringify({ ...kept(), boot: bootId() }));
  const layers = new Layers(content);
  assert.equal(layers.directory(digest), join(path, 'fs'));
  await untilOnDisk();
  await layers.close();
});

test('what was not written out before the machine was booted is unpacked again, and so is what is torn', async () => {
  for (const text of [JSON.stringify({ ...kept(), boot: 'before' }), '{"dif', '']) {
    writeFileSync(join(path, 'fs', 'file'), 'wh\0\0\0');
    writeFileSync(recordFile, text);
    const layers = new Layers(content);
    assert.equal(layers.directory(digest), undefined);
    assert.equal(layers.sizeBytes(digest), 0);
    await layers.ensure(digest, digest);
    assert.equal(readFileSync(join(layers.directory(digest) ?? '', 'file'), 'utf8'), 'whole');
    await layers.close();
  }
});
