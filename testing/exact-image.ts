/** An image that holds everything that a layer can hold, in three layers, for tests that it comes through unchanged. */
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TarInput } from '#lib/tar/write.ts';
import { tarOf, writeOciLayout } from './oci-layout.ts';

type Entry = Partial<TarInput> & { name: string };

/** `cap_net_raw=ep` as the kernel keeps it (vfs_cap_data, revision 2). */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex');
/** 20 MiB of which two pages are written. */
const SPARSE_BYTES = 20 * 1024 * 1024;

export async function writeExactImage(
  directory: string,
  options: { tag: string; compression?: 'gzip' | 'zstd' | 'none' },
): ReturnType<typeof writeOciLayout> {
  const layers = [await tarOf(base()), sparseLayer(), await tarOf(changes())];
  return await writeOciLayout(directory, {
    ...options,
    layers,
    config: { Cmd: ['/bin/none'], Labels: { exact: 'yes' } },
  });
}

function base(): Entry[] {
  const long = `${'deep-directory/'.repeat(12)}file`;
  const parents = long.split('/').slice(0, -1);
  return [
    folder('', 0o755),
    ...['bin', 'dev', 'etc', 'gone', 'gone/below', 'hidden', 'links', 'odd', 'later', 'deep'].map((name) =>
      folder(name),
    ),
    {
      name: 'bin/setuid',
      mode: 0o4755,
      data: Buffer.from('u'),
      mtimeSeconds: 1_600_000_000,
      mtimeNanoseconds: 123_456_789,
    },
    { name: 'bin/setgid', mode: 0o2711, data: Buffer.from('g'), gid: 42 },
    folder('tmp', 0o1777),
    { name: 'bin/ping', mode: 0o755, data: Buffer.from('p'), xattrs: new Map([['security.capability', CAPABILITY]]) },
    {
      name: 'etc/attributes',
      data: Buffer.from('x'),
      xattrs: new Map([
        ['user.text', Buffer.from('wört')],
        ['user.bytes', Buffer.from([0, 1, 255])],
      ]),
    },
    { ...folder('etc/with-attributes'), xattrs: new Map([['user.on-directory', Buffer.from('d')]]) },
    { name: 'etc/large-ids', uid: 3_000_000, gid: 4_000_000_000, data: Buffer.from('i') },
    { name: 'etc/no-rights', mode: 0, data: Buffer.from('n') },
    { name: 'etc/empty' },
    { name: 'etc/before-1970', mtimeSeconds: -86_400 },
    { name: 'etc/after-2242', mtimeSeconds: 8_600_000_000, mtimeNanoseconds: 1 },
    { name: 'dev/zero', type: 'character-device', mode: 0o666, deviceMajor: 1, deviceMinor: 5 },
    { name: 'dev/disk', type: 'block-device', mode: 0o660, gid: 6, deviceMajor: 259, deviceMinor: 300 },
    { name: 'dev/pipe', type: 'fifo', mode: 0o622 },
    { name: 'links/one', data: Buffer.from('shared'), mode: 0o640 },
    { name: 'links/two', type: 'hard-link', linkName: 'links/one', mode: 0o640 },
    { name: 'links/three', type: 'hard-link', linkName: 'links/one', mode: 0o640 },
    link('links/dangling', '/no/such/place'),
    link('links/absolute', '/etc/attributes'),
    link('links/climbs', '../../../../etc/empty'),
    link('links/spaces', ' a b\n'),
    link('links/long', 'x/'.repeat(150)),
    { name: 'odd/\xff\xfe not utf-8', data: Buffer.from('b') },
    { name: 'odd/new\nline', data: Buffer.from('n') },
    { name: 'odd/-dash', data: Buffer.from('d') },
    { name: 'odd/w\xc3\xb6rt' },
    { name: `odd/${'n'.repeat(255)}`, data: Buffer.from('l') },
    ...parents.map((_, at) => folder(`deep/${parents.slice(0, at + 1).join('/')}`, 0o750)),
    { name: `deep/${long}`, data: Buffer.from('deep') },
    { name: 'gone/below/file', data: Buffer.from('1') },
    { name: 'gone/file', data: Buffer.from('2') },
    { name: 'hidden/old', data: Buffer.from('3') },
    { name: 'later/file', mode: 0o600, data: Buffer.from('same') },
  ];
}

/** On top: whiteouts, an opaque directory, one link of three gone, rights and types that change. */
function changes(): Entry[] {
  return [
    folder('gone'),
    { name: 'gone/.wh.file' },
    { name: 'gone/.wh.below' },
    folder('hidden', 0o711),
    { name: 'hidden/.wh..wh..opq' },
    { name: 'hidden/new', data: Buffer.from('4') },
    folder('links'),
    { name: 'links/.wh.three' },
    { name: 'links/fresh', data: Buffer.from('fresh') },
    { name: 'links/fresher', type: 'hard-link', linkName: 'links/fresh' },
    { ...folder('later', 0o2770), uid: 7, gid: 8 },
    folder('etc'),
    { name: 'etc/.wh.empty' },
    folder('etc/empty-place'),
    { name: 'etc/no-rights', mode: 0o400, data: Buffer.from('N') },
  ];
}

/** GNU tar knows how to say where the holes are. */
function sparseLayer(): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'sparse-'));
  try {
    const file = openSync(join(directory, 'sparse'), 'w', 0o644);
    ftruncateSync(file, SPARSE_BYTES);
    writeSync(file, Buffer.alloc(4096, 'a'), 0, 4096, 4096 * 16);
    writeSync(file, Buffer.alloc(4096, 'b'), 0, 4096, SPARSE_BYTES - 8192);
    closeSync(file);
    const words = [
      '--create',
      '--sparse',
      '--format=pax',
      '--owner=0',
      '--group=0',
      '--mtime=2020-01-02 03:04:05.678901234Z',
    ];
    return execFileSync('tar', [...words, '-C', directory, 'sparse'], { maxBuffer: 64 * 1024 * 1024 });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function folder(name: string, mode = 0o755): Entry & { type: 'directory' } {
  return { name, type: 'directory', mode };
}

function link(name: string, linkName: string): Entry {
  return { name, type: 'symlink', mode: 0o777, linkName };
}
