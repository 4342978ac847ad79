import assert from 'node:assert/strict';
import { test } from 'node:test';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { matchesGolden } from '#testing/golden.ts';
import { StagingError } from '../staging.ts';
import { hostileLayer } from './hostile-layer.ts';

const entry = (name: string, more: Partial<TarInput> = {}): TarInput => {
  const data = typeof more.data === 'object' && more.data instanceof Uint8Array ? more.data : Buffer.alloc(0);
  return {
    name,
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeSeconds: 12345,
    ...more,
    sizeBytes: data.byteLength,
    data,
  };
};
const directory = (name: string) => entry(name, { type: 'directory', mode: 0o755 });

async function layer(
  entries: TarInput[],
  limits = { bytes: 10_000_000, entries: 100 },
): Promise<{ names: string[]; digest: string }> {
  const names: string[] = [];
  async function* watched() {
    for await (const each of hostileLayer(
      Readable.from(writeTar(entries, { encoding: 'latin1' })),
      'layers/b/l',
      limits,
    )) {
      assert.equal(each.mode & 0o7000, 0);
      assert.deepEqual([each.uid, each.gid], [1000, 1000]);
      names.push(`${each.type} ${each.mode.toString(8)} ${each.name} ${each.linkName ?? ''}`.trimEnd());
      yield each;
    }
  }
  const hash = createHash('sha256');
  for await (const chunk of writeTar(watched(), { encoding: 'latin1' })) hash.update(chunk);
  return { names, digest: hash.digest('hex') };
}

test('owner, time and setuid bits are ours', async () => {
  const content = Buffer.from('content');
  const honest = [
    directory('./layers/b/l'),
    entry('./layers/b/l/a', { data: content, mode: 0o6755, uid: 0 }),
    entry('./layers/b/l/absolute', { type: 'symlink', linkName: '/etc/passwd', mode: 0o777 }),
    entry('./layers/b/l/b', { type: 'hard-link', linkName: './layers/b/l/a', mode: 0o755 }),
    entry('./layers/b/l/pipe', { type: 'fifo' }),
  ];
  const { names, digest } = await layer(honest);
  assert.deepEqual(names, [
    'directory 755 layers',
    'directory 755 layers/b',
    'directory 755 layers/b/l',
    'file 755 layers/b/l/a',
    'symlink 777 layers/b/l/absolute /etc/passwd',
    'hard-link 755 layers/b/l/b layers/b/l/a',
  ]);
  const later = honest.map((each) => ({ ...each, uid: 1000, mtimeSeconds: 99_999 }));
  assert.equal((await layer(later)).digest, digest);
  const changed = honest.map((each) =>
    each.data instanceof Uint8Array && each.sizeBytes > 0 ? { ...each, data: Buffer.from('CONTENT') } : each,
  );
  assert.notEqual((await layer(changed)).digest, digest);
});

const hostile: [string, TarInput[]][] = [
  ['a path that leads up', [entry('layers/b/l/../../../etc/passwd')]],
  ['a path beside the layer', [entry('layers/b/other/file')]],
  ['a path that begins like the layer', [entry('layers/b/l2/file')]],
  ['an absolute path', [entry('/etc/passwd')]],
  ['a device', [entry('layers/b/l/sda', { type: 'block-device', deviceMajor: 8, deviceMinor: 0 })]],
  ['a whiteout', [entry('layers/b/l/.wh.bin')]],
  ['a file below a link', [entry('layers/b/l/x', { type: 'symlink', linkName: '/etc' }), entry('layers/b/l/x/passwd')]],
  ['a file without its directory', [entry('layers/b/l/x/y')]],
  ['a file twice', [entry('layers/b/l/x'), entry('layers/b/l/x')]],
  ['a hard link out', [entry('layers/b/l/x', { type: 'hard-link', linkName: 'etc/shadow' })]],
  ['a hard link to what is not there', [entry('layers/b/l/x', { type: 'hard-link', linkName: 'layers/b/l/y' })]],
  [
    'a hard link to a link',
    [
      entry('layers/b/l/y', { type: 'symlink', linkName: '/etc/shadow' }),
      entry('layers/b/l/x', { type: 'hard-link', linkName: 'layers/b/l/y' }),
    ],
  ],
  ['too many bytes', [entry('layers/b/l/x', { data: Buffer.alloc(10_000_001) })]],
  ['too many entries', Array.from({ length: 101 }, (_, index) => entry(`layers/b/l/${index}`))],
];

test('what has no place in an image is refused', async () => {
  const lines: string[] = [];
  for (const [what, entries] of hostile) {
    await assert.rejects(layer(entries), (error: unknown) => {
      assert.ok(error instanceof StagingError, `${what}: ${String(error)}`);
      lines.push(`${what}\n  ${error.code}: ${error.message}`);
      return true;
    });
  }
  matchesGolden(join(import.meta.dirname, '..', 'testdata', 'refused-layers.txt'), `${lines.join('\n')}\n`);
});

test('a broken archive is an error of the build', async () => {
  const stream = Readable.from([Buffer.alloc(700, 0x41)]);
  await assert.rejects(Array.fromAsync(hostileLayer(stream, 'workspace', { bytes: 1, entries: 1 })), {
    code: 'build-failed',
  });
});
