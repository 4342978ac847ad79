/** Things are broken on purpose; the check tells each, the repair mends it, and the next pull brings back what was lost. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type EngineHost, openEngineHost, removeAll } from '#testing/engine-host.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';
import { purgeEngine } from '../open.ts';
import { fsck } from './check.ts';
import { type FsckReport, fsckExitStatus } from './fsck.ts';

let host: EngineHost;
let content = '';
let data = '';
let container = '';

const blobs = (): string[] =>
  readdirSync(join(content, 'blobs/sha256')).map((hex) => join(content, 'blobs/sha256', hex));
const largest = (): string =>
  blobs().reduce((best, path) => (readFileSync(path).length > readFileSync(best).length ? path : best));
const flip = (path: string): void => {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
};
const check = async (repair = false): Promise<FsckReport> => await fsck({ engine: host.options, repair });
const kinds = ({ problems }: FsckReport): string[] => [...new Set(problems.map(({ kind }) => kind))].sort();
const nameFile = (scope: string, name: string): string =>
  join(content, 'names', encodeURIComponent(scope), encodeURIComponent(name));

describe('fsck', { timeout: 300_000 }, () => {
  before(async () => {
    host = await openEngineHost({ sandboxPool: 0 });
    data = join(host.options.dataDirectory, 'engine');
    content = join(data, 'content');
    const sandbox = await host.engine.createSandbox({ name: 'one', hostname: 'one' });
    const made = await host.engine.createContainer({ sandbox: sandbox.id, name: 'main', image: host.image });
    container = made.id;
    mkdirSync(join(data, 'volumes/kept/_data'), { recursive: true });
    writeFileSync(join(data, 'volumes/kept/_data/file'), 'the user’s');
    writeFileSync(
      join(data, 'volumes/kept/volume.json'),
      JSON.stringify({ name: 'kept', labels: {}, createdAt: 1, anonymous: false }),
    );
    await host.engine.close();
  });
  after(async () => {
    await purgeEngine(host.options);
    await removeAll(host.options);
  });

  /** Each test begins with all well, by what it is about: repair, then a pull. */
  beforeEach(async () => {
    await host.reopen();
    await addBusyboxImage(host.engine.images);
    await host.engine.close();
    const report = await check();
    assert.deepEqual(report.problems, []);
    assert.equal(fsckExitStatus(report), 0);
    assert.ok(report.checked.blobs >= 4 && report.checked.layers === 2 && report.checked.names >= 4);
  });

  async function breaks(breakIt: () => void, wanted: string[], detail: RegExp): Promise<void> {
    breakIt();
    const found = await check();
    assert.deepEqual(kinds(found), wanted);
    assert.match(found.problems.map((one) => `${one.what} ${one.detail}`).join('\n'), detail);
    assert.equal(fsckExitStatus(found), 4);
    const mended = await check(true);
    assert.deepEqual(kinds(mended), wanted);
    assert.ok(mended.problems.filter((one) => one.mended === undefined).every(({ kind }) => kind === 'record'));
  }

  test('a flipped byte', async () => {
    const path = largest();
    await breaks(() => flip(path), ['blob', 'name', 'record'], /it has \d+ bytes of sha256:[0-9a-f]{64}/);
    assert.ok(!existsSync(path));
    assert.equal((await check()).problems.filter(({ kind }) => kind !== 'record').length, 0);
    // The next pull brings it, and the container has its image again: `beforeEach` asserts it.
  });

  test('a truncated blob', () =>
    breaks(() => truncateSync(largest(), 1000), ['blob', 'name', 'record'], /it has 1000 bytes/));

  test('a damaged manifest', () =>
    breaks(
      () => {
        const record = JSON.parse(readFileSync(nameFile(':images', host.image), 'utf8')) as { digest: string };
        flip(join(content, 'blobs', record.digest.replace(':', '/')));
      },
      ['blob', 'name', 'record'],
      /manifest sha256:[0-9a-f]{64} is damaged/,
    ));

  test('a missing layer is unpacked anew', async () => {
    const [layer = ''] = readdirSync(join(content, 'layers'));
    await breaks(() => rmSync(join(content, 'layers', layer), { recursive: true }), ['layer'], /it is not unpacked/);
    assert.deepEqual((await check()).problems, []);
    assert.ok(existsSync(join(content, 'layers', layer, 'fs')));
  });

  test('a torn layer', async () => {
    const [layer = ''] = readdirSync(join(content, 'layers'));
    await breaks(() => truncateSync(join(content, 'layers', layer, 'layer.json'), 5), ['layer'], /layer\.json is torn/);
    assert.deepEqual((await check()).problems, []);
  });

  test('a layer that was not written out before the machine was booted', async () => {
    const [layer = ''] = readdirSync(join(content, 'layers'));
    const file = join(content, 'layers', layer, 'layer.json');
    const record = JSON.parse(readFileSync(file, 'utf8')) as object;
    const lose = (): void => writeFileSync(file, JSON.stringify({ ...record, boot: 'another' }));
    await breaks(lose, ['layer'], /booted before it was written out/);
    assert.deepEqual((await check()).problems, []);
  });

  test('a dangling name', async () => {
    const missing = `sha256:${'0'.repeat(64)}`;
    const file = nameFile('ghost', 'latest');
    await breaks(
      () => {
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, JSON.stringify({ scope: 'ghost', name: 'latest', digest: missing }));
      },
      ['name'],
      /ghost latest manifest sha256:0+ is not here/,
    );
    assert.ok(!existsSync(file));
  });

  test('half-written records', async () => {
    const file = nameFile('ghost', 'torn');
    await breaks(
      () => {
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, '{"scope":"gho');
        truncateSync(join(data, 'volumes/kept/volume.json'), 4);
        const half = join(data, 'containers', 'f'.repeat(64));
        mkdirSync(half);
        writeFileSync(join(half, 'container.json'), '{"id":');
      },
      ['name', 'record'],
      /volumes\/kept its record volume\.json is torn/,
    );
    assert.deepEqual((await check()).problems, []);
    assert.equal(readFileSync(join(data, 'volumes/kept/_data/file'), 'utf8'), 'the user’s');
    assert.deepEqual(readdirSync(join(data, 'containers')), [container]);
  });

  test('files that are no blobs', () =>
    breaks(() => writeFileSync(join(content, 'blobs/sha256/readme'), ''), ['stray'], /it is no blob/));

  test('an engine that runs is read, never mended; an interrupted check goes on', async () => {
    await host.reopen();
    assert.deepEqual((await check()).problems, []);
    await assert.rejects(check(true), { code: 'conflict', message: /another engine/ });
    await host.engine.close();
    const stop = new AbortController();
    const interrupted = fsck({
      engine: host.options,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error('enough')),
    });
    await assert.rejects(interrupted, /enough/);
    const report = await check();
    assert.ok(report.resumed >= 1, 'what was read before is not read again');
    assert.deepEqual(report.problems, []);
    assert.equal((await check()).resumed, 0);
  });
});
