/**
 * What every content store keeps, by the contract in `engine/images/store.ts`.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { describe, test, type TestContext } from 'node:test';
import type { ContentStore } from '#engine/images/store.ts';
import { digestOf } from '#lib/digest.ts';

const HELLO = Buffer.from('hello, content');
const NEVER = `sha256:${'0'.repeat(64)}`;

export function contentContract(name: string, open: (directory: string) => ContentStore): void {
  const fresh = async (context: TestContext): Promise<{ directory: string; content: ContentStore }> => {
    const directory = await mkdtemp(join(tmpdir(), 'content-'));
    context.after(() => rm(directory, { recursive: true, force: true }));
    return { directory, content: open(directory) };
  };

  describe(`content store contract: ${name}`, () => {
    test('a blob is read back, whole and in ranges, also after a new start', async (context) => {
      const { directory, content } = await fresh(context);
      const { digest, sizeBytes } = await content.write(HELLO, {});
      assert.equal(digest, digestOf(HELLO));
      assert.equal(sizeBytes, HELLO.length);
      const again = open(directory);
      assert.deepEqual(await again.readAll(digest), HELLO);
      assert.deepEqual(await again.stat(digest), { digest, sizeBytes });
      assert.equal((await buffer(await again.read(digest, { start: 7 }))).toString(), 'content');
      assert.equal((await buffer(await again.read(digest, { start: 0, end: 4 }))).toString(), 'hello');
      assert.ok(again.path(digest)?.startsWith('/'));
      assert.deepEqual(await Array.fromAsync(again.blobs()), [{ digest, sizeBytes }]);
    });

    test('sha512 is a digest like sha256', async (context) => {
      const { content } = await fresh(context);
      const digest = digestOf(HELLO, 'sha512');
      await content.write(HELLO, { digest });
      assert.deepEqual(await content.readAll(digest), HELLO);
    });

    test('what is not here is not-found, or undefined', async (context) => {
      const { content } = await fresh(context);
      assert.equal(content.path(NEVER), undefined);
      assert.equal(content.path('sha256:../../etc/passwd'), undefined);
      assert.equal(await content.stat(NEVER), undefined);
      assert.equal(content.touch(NEVER), false);
      await assert.rejects(content.read(NEVER), { code: 'not-found' });
      await assert.rejects(content.readAll(NEVER), { code: 'not-found' });
      await content.remove(NEVER);
    });

    test('content that is not what was announced leaves nothing', async (context) => {
      const { directory, content } = await fresh(context);
      await assert.rejects(content.write(HELLO, { digest: NEVER }), { code: 'invalid' });
      await assert.rejects(content.write(HELLO, { sizeBytes: 3 }), { code: 'invalid' });
      await assert.rejects(content.write(HELLO, { sizeBytes: 300 }), { code: 'invalid' });
      await assert.rejects(content.write(HELLO, { digest: 'md5:abc' }), { code: 'invalid' });
      await assert.rejects(content.write(failing(), {}), /broke/);
      assert.deepEqual(await Array.fromAsync(content.blobs()), []);
      assert.deepEqual(await readdir(join(directory, 'uploads')), []);
    });

    test('writers of one blob at the same time meet without harm', async (context) => {
      const { directory, content } = await fresh(context);
      const bytes = Buffer.alloc(3_000_000, 'x');
      const writers = Array.from({ length: 8 }, () => content.write(slices(bytes), { digest: digestOf(bytes) }));
      for (const written of await Promise.all(writers)) assert.equal(written.sizeBytes, bytes.length);
      assert.deepEqual(await content.readAll(digestOf(bytes)), bytes);
      assert.deepEqual(await readdir(join(directory, 'uploads')), []);
    });

    test('an upload goes on after a broken source and after a new start', async (context) => {
      const { directory, content } = await fresh(context);
      const id = await content.startUpload();
      assert.equal(await content.uploadSize(id), 0);
      assert.equal(await content.appendUpload(id, 0, slices(HELLO.subarray(0, 5))), 5);
      await assert.rejects(content.appendUpload(id, 3, slices(HELLO)), { code: 'conflict' });
      await assert.rejects(content.appendUpload(id, 5, failing(HELLO.subarray(5, 8))), /broke/);
      assert.equal(await content.uploadSize(id), 8);
      const again = open(directory);
      assert.equal(await again.uploadSize(id), 8);
      assert.equal(await again.appendUpload(id, 8, slices(HELLO.subarray(8))), HELLO.length);
      assert.deepEqual(await again.finishUpload(id, digestOf(HELLO)), {
        digest: digestOf(HELLO),
        sizeBytes: HELLO.length,
      });
      assert.deepEqual(await again.readAll(digestOf(HELLO)), HELLO);
      assert.equal(await again.uploadSize(id), undefined);
    });

    test('an upload with another digest is gone, and so is a cancelled one', async (context) => {
      const { content } = await fresh(context);
      const id = await content.startUpload();
      await content.appendUpload(id, 0, slices(HELLO));
      await assert.rejects(content.finishUpload(id, NEVER), { code: 'invalid' });
      assert.equal(await content.uploadSize(id), undefined);
      const other = await content.startUpload();
      await content.cancelUpload(other);
      assert.equal(await content.uploadSize(other), undefined);
      for (const wrong of [other, '../names', '']) {
        await assert.rejects(content.appendUpload(wrong, 0, slices(HELLO)), { code: 'not-found' });
      }
    });

    test('a reader goes on while its blob is removed', async (context) => {
      const { content } = await fresh(context);
      const bytes = Buffer.alloc(2_000_000, 'r');
      const { digest } = await content.write(bytes, {});
      const reader = await content.read(digest);
      await content.remove(digest);
      assert.equal((await buffer(reader)).length, bytes.length);
      assert.equal(content.path(digest), undefined);
    });

    test('names are set, moved, removed, listed, and survive', async (context) => {
      const { directory, content } = await fresh(context);
      const odd = ['a', 'A', '..', '.', 'with/slash', 'ä', `${'long'.repeat(60)}`, '%2E', 'nl\n'];
      for (const name of odd) await content.setName('team/app', name, NEVER);
      await content.setName('team/app', 'a', digestOf(HELLO));
      await content.setName('team/app', 'A', undefined);
      await content.setName('team/app', 'A', undefined);
      await content.setName('other', 'x', NEVER);
      for (const store of [content, open(directory)]) {
        assert.deepEqual(
          store.names('team/app').map(({ name }) => name),
          odd.filter((name) => name !== 'A').sort(),
        );
        assert.equal(store.getName('team/app', 'a'), digestOf(HELLO));
        assert.equal(store.getName('team/app', 'A'), undefined);
        assert.deepEqual(store.scopes(), ['other', 'team/app']);
      }
      const raced = Array.from({ length: 10 }, (_, index) => content.setName('other', 'x', digestOf(`${index}`)));
      await Promise.all(raced);
      assert.equal(open(directory).getName('other', 'x'), digestOf('9'));
      await assert.rejects(async () => await content.setName('other', 'y', 'no digest'), { code: 'invalid' });
    });

    test('collection keeps what names and pins reach, and what is young', async (context) => {
      const { content } = await fresh(context);
      const layer = await content.write(Buffer.from('layer'), {});
      const config = await content.write(Buffer.from(JSON.stringify({ rootfs: { diff_ids: [] } })), {});
      const manifest = await content.write(
        Buffer.from(
          JSON.stringify({ schemaVersion: 2, config: { digest: config.digest }, layers: [{ digest: layer.digest }] }),
        ),
        {},
      );
      const index = await content.write(Buffer.from(JSON.stringify({ manifests: [{ digest: manifest.digest }] })), {});
      const pinned = await content.write(Buffer.from('pinned'), {});
      const linked = await content.write(Buffer.from('only linked'), {});
      const young = await content.write(Buffer.from('young'), {});
      await content.setName('team/app', 'latest', index.digest);
      await content.setName(':links/team/app', linked.digest, linked.digest);
      const old = Date.now() / 1000 - 7200;
      for await (const { digest } of content.blobs()) {
        if (digest !== young.digest) await utimes(content.path(digest) ?? '', old, old);
      }
      assert.deepEqual(await content.collect({ pinned: [pinned.digest] }), { blobs: 1, bytes: linked.sizeBytes });
      assert.equal(content.getName(':links/team/app', linked.digest), undefined);
      for (const { digest } of [layer, config, manifest, index, pinned, young]) assert.ok(content.path(digest));
      await content.setName('team/app', 'latest', undefined);
      assert.ok(content.touch(layer.digest));
      assert.equal((await content.collect()).blobs, 4);
      assert.ok(content.path(layer.digest));
      assert.equal((await content.collect({ graceMilliseconds: -60_000 })).blobs, 2);
      assert.deepEqual(await Array.fromAsync(content.blobs()), []);
    });
  });
}

async function* slices(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

async function* failing(first: Buffer = Buffer.from('part')): AsyncGenerator<Buffer> {
  yield first;
  throw new Error('the source broke');
}
