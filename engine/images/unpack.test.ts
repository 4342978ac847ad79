import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '#lib/digest.ts';
import type { TarInput } from '#lib/tar/write.ts';
import { tarOf } from '#testing/oci-layout.ts';
import { type UnpackLimits, unpackLayer } from './unpack.ts';

const run = promisify(execFile);
type Entries = (Partial<TarInput> & { name: string })[];

let root = '';
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'unpack-'));
});
after(async () => {
  await rm(root, { recursive: true });
});

/** Unpacks into `<fresh>/fs`, beside a canary that no layer may touch. */
async function unpack(
  archive: Buffer,
  options: { blob?: Buffer; limits?: Partial<UnpackLimits>; diffId?: string } = {},
): Promise<string> {
  const outside = await mkdtemp(join(root, 'layer-'));
  const directory = join(outside, 'fs');
  await mkdir(directory);
  await writeFile(join(outside, 'canary'), 'alive');
  const blob = options.blob ?? archive;
  try {
    await unpackLayer({
      source: Readable.from([blob]),
      sourceBytes: blob.length,
      directory,
      diffId: options.diffId ?? digestOf(archive),
      limits: options.limits,
    });
  } finally {
    assert.deepEqual((await readdir(outside)).sort(), ['canary', 'fs']);
    assert.equal(await readFile(join(outside, 'canary'), 'utf8'), 'alive');
  }
  return directory;
}

async function xattr(path: string, name: string): Promise<string> {
  const script = 'import os,sys; sys.stdout.write(os.getxattr(sys.argv[1], sys.argv[2], follow_symlinks=False).hex())';
  const { stdout } = await run('python3', ['-c', script, path, name]).catch(() => ({ stdout: 'none' }));
  return stdout;
}

test('what GNU tar keeps is kept: owners, modes, links, holes, attributes, devices, times, odd names', async () => {
  const source = await mkdtemp(join(root, 'source-'));
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(90)}`;
  await mkdir(join(source, long), { recursive: true });
  await writeFile(join(source, long, 'deep'), 'deep');
  await writeFile(join(source, 'setuid'), 'x');
  await run('chown', ['1234:5678', join(source, 'setuid')]);
  await chmod(join(source, 'setuid'), 0o6755);
  await link(join(source, 'setuid'), join(source, 'hard'));
  await symlink('/etc/passwd', join(source, 'absolute'));
  await symlink('../../x', join(source, 'upwards'));
  await run('mknod', [join(source, 'null'), 'c', '1', '3']);
  await run('mkfifo', [join(source, 'fifo')]);
  await mkdir(join(source, 'sticky'));
  await chmod(join(source, 'sticky'), 0o1777);
  await writeFile(join(source, 'na\nme "ä" \\'), 'odd');
  await run('truncate', ['-s', '50M', join(source, 'holes')]);
  await writeFile(join(source, 'holes'), 'end', { flag: 'a' });
  await run('python3', [
    '-c',
    "import os,sys; p=sys.argv[1]; os.setxattr(p, 'user.note', b'hello\\0\\n'); os.setxattr(p, 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))",
    join(source, 'hard'),
  ]);
  for (const format of ['pax', 'gnu', 'pax-sparse-0.0', 'pax-sparse-0.1', 'ustar']) {
    const [, , version] = format.split('-');
    const options = version === undefined ? [`--format=${format}`] : ['--format=pax', `--sparse-version=${version}`];
    const skipped = format === 'ustar' ? ['--exclude=dddd*', '--exclude=upwards'] : [];
    const sparse = format === 'ustar' ? [] : ['--sparse'];
    const xattrs = options[0] === '--format=pax' ? ['--xattrs', '--xattrs-include=*'] : [];
    const { stdout } = await run('tar', ['-c', ...options, ...skipped, ...sparse, ...xattrs, '-C', source, '.'], {
      encoding: 'buffer',
      maxBuffer: 2 ** 27,
    });
    const made = await unpack(stdout);
    const setuid = await stat(join(made, 'setuid'));
    assert.deepEqual([setuid.mode & 0o7777, setuid.uid, setuid.gid], [0o6755, 1234, 5678], format);
    assert.equal((await stat(join(made, 'hard'))).ino, setuid.ino, format);
    assert.equal(await readlink(join(made, 'absolute')), '/etc/passwd');
    const device = await lstat(join(made, 'null'));
    assert.ok(device.isCharacterDevice() && device.rdev === 0x103, format);
    assert.ok((await lstat(join(made, 'fifo'))).isFIFO());
    assert.equal((await stat(join(made, 'sticky'))).mode & 0o7777, 0o1777);
    assert.equal(await readFile(join(made, 'na\nme "ä" \\'), 'utf8'), 'odd');
    const holes = await stat(join(made, 'holes'));
    assert.equal(holes.size, 50 * 1024 * 1024 + 3, format);
    if (format === 'ustar') continue;
    assert.ok(holes.blocks < 1000, `${format}: the holes are filled`);
    assert.equal((await readFile(join(made, 'holes'))).subarray(-3).toString(), 'end');
    assert.equal(await readFile(join(made, long, 'deep'), 'utf8'), 'deep');
    if (xattrs.length === 0) continue;
    assert.equal(await xattr(join(made, 'setuid'), 'user.note'), Buffer.from('hello\0\n').toString('hex'));
    assert.equal(await xattr(join(made, 'setuid'), 'security.capability'), '0100000200040000000000000000000000000000');
    assert.equal(
      Math.round((await stat(join(made, 'setuid'))).mtimeMs),
      Math.round((await stat(join(source, 'setuid'))).mtimeMs),
    );
  }
});

test('whiteouts become what overlayfs understands', async () => {
  const made = await unpack(
    await tarOf([
      { name: 'a', type: 'directory', mode: 0o700, uid: 7 },
      { name: 'a/kept', data: Buffer.from('kept') },
      { name: 'a/.wh.gone' },
      { name: 'b', type: 'directory', mode: 0o711, uid: 9 },
      { name: 'b/new', data: Buffer.from('new') },
      { name: 'b/.wh..wh..opq' },
      { name: 'never-listed/.wh..wh..opq' },
      { name: '.wh.replaced' },
      { name: 'replaced', type: 'directory' },
      { name: 'replaced/by', data: Buffer.from('this') },
      { name: '.wh.implied' },
      { name: 'implied/inside', data: Buffer.from('x') },
      { name: 'present', data: Buffer.from('x') },
      { name: '.wh.present' },
      { name: '.wh..wh.plnk' },
    ]),
  );
  const gone = await lstat(join(made, 'a/gone'));
  assert.ok(gone.isCharacterDevice() && gone.rdev === 0);
  assert.equal((await stat(join(made, 'a'))).uid, 7);
  const opaque = Buffer.from('y').toString('hex');
  assert.equal(await xattr(join(made, 'a'), 'trusted.overlay.opaque'), 'none');
  for (const name of ['b', 'never-listed', 'replaced', 'implied']) {
    assert.equal(await xattr(join(made, name), 'trusted.overlay.opaque'), opaque, name);
  }
  const b = await stat(join(made, 'b'));
  assert.deepEqual([b.mode & 0o7777, b.uid], [0o711, 9]);
  assert.equal(await readFile(join(made, 'b/new'), 'utf8'), 'new');
  assert.equal(await readFile(join(made, 'replaced/by'), 'utf8'), 'this');
  assert.ok((await stat(join(made, 'present'))).isFile());
  assert.deepEqual((await readdir(made)).sort(), ['a', 'b', 'implied', 'never-listed', 'present', 'replaced']);
});

test('names through links stay inside, where the link would lead in the container', async () => {
  const made = await unpack(
    await tarOf([
      { name: 'usr/lib', type: 'directory' },
      { name: 'lib', type: 'symlink', linkName: '/usr/lib' },
      { name: 'lib/libc', data: Buffer.from('c') },
      { name: 'up', type: 'symlink', linkName: '../../../../..' },
      { name: 'up/canary', data: Buffer.from('inside') },
      { name: 'chain', type: 'symlink', linkName: 'lib' },
      { name: 'chain/second', type: 'hard-link', linkName: 'lib/libc' },
      { name: '/absolute/file', data: Buffer.from('a') },
      { name: './dot/./file', data: Buffer.from('d') },
      { name: 'linked', type: 'symlink', linkName: '/etc' },
      { name: 'linked', type: 'directory' },
      { name: 'linked/file', data: Buffer.from('l') },
      { name: 'first', data: Buffer.from('was a file') },
      { name: 'first', type: 'symlink', linkName: '../canary' },
      { name: 'again', type: 'hard-link', linkName: 'first' },
      { name: 'last', type: 'symlink', linkName: '../canary' },
      { name: 'last', data: Buffer.from('is a file') },
    ]),
  );
  assert.equal(await readFile(join(made, 'usr/lib/libc'), 'utf8'), 'c');
  assert.equal(await readFile(join(made, 'usr/lib/second'), 'utf8'), 'c');
  assert.equal(await readFile(join(made, 'canary'), 'utf8'), 'inside');
  assert.equal(await readFile(join(made, 'absolute/file'), 'utf8'), 'a');
  assert.equal(await readFile(join(made, 'dot/file'), 'utf8'), 'd');
  assert.equal(await readFile(join(made, 'linked/file'), 'utf8'), 'l');
  assert.equal(await readlink(join(made, 'first')), '../canary');
  assert.equal(await readlink(join(made, 'again')), '../canary');
  assert.equal(await readFile(join(made, 'last'), 'utf8'), 'is a file');
});

const HOSTILE: readonly [string, Entries, RegExp][] = [
  ['a name with ..', [{ name: '../canary', data: Buffer.from('dead') }], /leads out of the archive/],
  ['a name with .. inside', [{ name: 'a/../../canary', data: Buffer.from('dead') }], /leads out/],
  ['a hard link with ..', [{ name: 'x', type: 'hard-link', linkName: '../canary' }], /leads out/],
  ['a hard link to the host', [{ name: 'x', type: 'hard-link', linkName: '/etc/passwd' }], /no such file/],
  [
    'a hard link through a link',
    [
      { name: 'out', type: 'symlink', linkName: '../..' },
      { name: 'x', type: 'hard-link', linkName: 'out/etc/passwd' },
    ],
    /no such file/,
  ],
  ['a hard link to itself', [{ name: 'x', type: 'hard-link', linkName: 'x' }], /no such file/],
  [
    'a hard link to a directory',
    [
      { name: 'd', type: 'directory' },
      { name: 'x', type: 'hard-link', linkName: 'd' },
    ],
    /no such file/,
  ],
  [
    'links in a circle',
    [{ name: 'a', type: 'symlink', linkName: 'b' }, { name: 'b', type: 'symlink', linkName: 'a' }, { name: 'a/x' }],
    /more than 40 symbolic links/,
  ],
  ['a file below a file', [{ name: 'a' }, { name: 'a/b' }], /no directory/],
  ['a file in the place of a directory', [{ name: 'a', type: 'directory' }, { name: 'a' }], /has a directory/],
  ['the root as a link', [{ name: '.', type: 'symlink', linkName: '/' }], /root is a symlink/],
  ['a whiteout of nothing', [{ name: '.wh.' }], /names nothing/],
  ['a whiteout of ..', [{ name: 'a/.wh...' }], /names nothing/],
  ['a component too long', [{ name: 'x'.repeat(256) }], /longer than 255/],
  ['a path too long', [{ name: 'x/'.repeat(2100) }], /more than 4096/],
  ['an empty link', [{ name: 'a', type: 'symlink', linkName: '' }], /no usable target/],
];

for (const [what, entries, message] of HOSTILE) {
  test(`hostile layer: ${what}`, async () => {
    await assert.rejects(unpack(await tarOf(entries)), { code: 'invalid', message });
  });
}

test('attributes that speak to the kernel in our name are dropped', async () => {
  const attributes = ['trusted.overlay.opaque', 'trusted.overlay.redirect', 'user.overlay.opaque', 'user.fine'];
  const made = await unpack(
    await tarOf([
      { name: 'd', type: 'directory', xattrs: new Map(attributes.map((name) => [name, Buffer.from('y')])) },
    ]),
  );
  assert.deepEqual(await Promise.all(attributes.map((name) => xattr(join(made, 'd'), name))), [
    'none',
    'none',
    'none',
    '79',
  ]);
});

test('archives that are damaged, too large or not what was promised', async () => {
  const archive = await tarOf([{ name: 'a', data: Buffer.alloc(3000, 1) }]);
  await assert.rejects(unpack(archive.subarray(0, 2000)), { code: 'invalid', message: /truncated/ });
  await assert.rejects(unpack(Buffer.from('no archive'.repeat(100))), { code: 'invalid', message: /checksum/ });
  await assert.rejects(unpack(archive, { diffId: `sha256:${'0'.repeat(64)}` }), {
    code: 'invalid',
    message: /config says/,
  });
  const broken = gzipSync(archive);
  broken.fill(0xff, 20, 40);
  await assert.rejects(unpack(archive, { blob: broken }), { code: 'invalid', message: /damaged/ });
  await assert.rejects(unpack(archive, { blob: gzipSync(archive).subarray(0, 60) }), {
    code: 'invalid',
    message: /damaged/,
  });
  await assert.rejects(unpack(archive, { blob: zstdCompressSync(archive).subarray(0, 40) }), { code: 'invalid' });
  await assert.rejects(unpack(archive, { limits: { maxBytes: 1000 } }), {
    code: 'invalid',
    message: /more than 1000 bytes/,
  });
  await assert.rejects(unpack(archive, { limits: { reserveBytes: 2 ** 60 } }), { code: 'exhausted' });
  const bomb = await tarOf([{ name: 'zeroes', data: Buffer.alloc(4 * 1024 * 1024) }]);
  await assert.rejects(unpack(bomb, { blob: gzipSync(bomb), limits: { freeRatioBytes: 1024 * 1024 } }), {
    code: 'invalid',
    message: /bomb/,
  });
  const many = await tarOf(Array.from({ length: 20 }, (_, index) => ({ name: `f${index}` })));
  await assert.rejects(unpack(many, { limits: { maxEntries: 10 } }), {
    code: 'invalid',
    message: /more than 10 entries/,
  });
});

test('compressed streams of several parts are read to their end', async () => {
  const archive = await tarOf([{ name: 'a', data: Buffer.alloc(300_000, 7) }]);
  const halves = [archive.subarray(0, 100_000), archive.subarray(100_000)];
  for (const compress of [gzipSync, zstdCompressSync]) {
    const made = await unpack(archive, { blob: Buffer.concat(halves.map((half) => compress(half))) });
    assert.equal((await stat(join(made, 'a'))).size, 300_000);
  }
});

test('an aborted unpacking rejects with the reason', async () => {
  const directory = await mkdtemp(join(root, 'aborted-'));
  const controller = new AbortController();
  const archive = await tarOf([{ name: 'a', data: Buffer.alloc(1_000_000) }, { name: 'b' }]);
  const source = Readable.from(
    (async function* () {
      yield archive.subarray(0, 600_000);
      controller.abort(new Error('enough'));
      yield archive.subarray(600_000);
    })(),
  );
  await assert.rejects(
    unpackLayer({
      source,
      sourceBytes: archive.length,
      directory,
      diffId: digestOf(archive),
      signal: controller.signal,
    }),
    /enough/,
  );
});

test('overlayfs shows the layers as the image means them', async (context) => {
  const bottom = await unpack(
    await tarOf([
      { name: 'etc', type: 'directory' },
      { name: 'etc/gone', data: Buffer.from('x') },
      { name: 'etc/kept', data: Buffer.from('bottom') },
      { name: 'opaque', type: 'directory' },
      { name: 'opaque/old', data: Buffer.from('x') },
      { name: 'dir', type: 'directory' },
      { name: 'dir/old', data: Buffer.from('x') },
    ]),
  );
  const top = await unpack(
    await tarOf([
      { name: 'etc', type: 'directory' },
      { name: 'etc/.wh.gone' },
      { name: 'etc/new', data: Buffer.from('top') },
      { name: 'opaque', type: 'directory' },
      { name: 'opaque/.wh..wh..opq' },
      { name: 'opaque/new', data: Buffer.from('x') },
      { name: '.wh.dir' },
    ]),
  );
  const merged = await mkdtemp(join(root, 'merged-'));
  await run('mount', ['-t', 'overlay', 'overlay', '-o', `ro,lowerdir=${top}:${bottom}`, merged]);
  context.after(() => run('umount', [merged]));
  assert.deepEqual((await readdir(merged)).sort(), ['etc', 'opaque']);
  assert.deepEqual((await readdir(join(merged, 'etc'))).sort(), ['kept', 'new']);
  assert.deepEqual(await readdir(join(merged, 'opaque')), ['new']);
  assert.equal(await readFile(join(merged, 'etc/kept'), 'utf8'), 'bottom');
});

test('names keep their bytes, whatever these are', async () => {
  const long = 'l'.repeat(120);
  // Text as bytes: what is UTF-8 in an archive, and what is not.
  const utf8 = Buffer.from('ä€').toString('latin1');
  const names = ['caf\xe9', `${long}\xff`, utf8, `${long}${utf8}`, '-rf', '*', ' '];
  const made = await unpack(await tarOf(names.map((name) => ({ name }))));
  const found = (await readdir(made, { encoding: 'buffer' })).map((name) => name.toString('latin1'));
  assert.deepEqual(found.sort(), [...names].sort());
});
