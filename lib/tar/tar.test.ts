import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { buffer } from 'node:stream/consumers';
import { safeName } from './names.ts';
import { readTar, type TarEntry } from './read.ts';
import { TarError } from './tar.ts';
import { encodeHeader, TAR_END, type TarInput, writeTar } from './write.ts';

const DEFAULTS = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 0, sizeBytes: 0 } as const;

async function archive(entries: (Partial<TarInput> & { name: string })[]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(writeTar(entries.map((entry) => ({ ...DEFAULTS, ...entry })))));
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(bytes: Buffer, size = 700): Promise<(Omit<TarEntry, 'data'> & { content: string })[]> {
  const found = [];
  for await (const { data, ...header } of readTar(pieces(bytes, size))) {
    found.push({ ...header, content: (await buffer(data())).toString('latin1') });
  }
  return found;
}

test('what is written is read back, in pieces of any size', async () => {
  const entries: (Partial<TarInput> & { name: string })[] = [
    { name: 'dir', type: 'directory', mode: 0o1777 },
    { name: `${'long/'.repeat(40)}ä`, data: Buffer.from('x'.repeat(1000)), sizeBytes: 1000 },
    { name: 'link', type: 'symlink', linkName: `/${'t'.repeat(200)}` },
    { name: 'hard', type: 'hard-link', linkName: 'dir/x' },
    { name: 'null', type: 'character-device', deviceMajor: 1, deviceMinor: 3 },
    { name: 'disk', type: 'block-device', deviceMajor: 8, deviceMinor: 300 },
    { name: 'pipe', type: 'fifo' },
    { name: 'ids', uid: 3_000_000_000, gid: 4_000_000, mode: 0o6755 },
    { name: 'new', mtimeSeconds: 1_700_000_000, mtimeNanoseconds: 123_456_789 },
    { name: 'old', mtimeSeconds: -2, mtimeNanoseconds: 500_000_000 },
    {
      name: 'attributes',
      xattrs: new Map([
        ['user.b', Buffer.from([0, 10, 61, 255])],
        ['user.a', Buffer.from('a')],
      ]),
    },
    { name: 'line\nbreak "q" \\' },
  ];
  const bytes = await archive(entries);
  for (const size of [1, 511, 513, 100_000]) {
    const back = await read(bytes, size);
    assert.equal(back.length, entries.length);
    for (const [index, { data, ...entry }] of entries.entries()) {
      const { content, ...header } = back[index] ?? assert.fail();
      const expected = { ...DEFAULTS, ...entry };
      for (const [key, value] of Object.entries(expected)) {
        if (key !== 'xattrs') assert.deepEqual(header[key as keyof typeof header], value, `${entry.name} ${key}`);
      }
      assert.deepEqual(new Map([...(header.xattrs ?? [])].sort()), new Map([...(entry.xattrs ?? [])].sort()));
      assert.equal(content, data === undefined ? '' : 'x'.repeat(1000));
    }
  }
});

test('the same entries give the same bytes', async () => {
  const xattrs = [
    ['user.b', Buffer.from('b')],
    ['user.a', Buffer.from('a')],
  ] as [string, Buffer][];
  const one = await archive([{ name: 'x', xattrs: new Map(xattrs) }]);
  const two = await archive([{ name: 'x', xattrs: new Map(xattrs.reverse()) }]);
  assert.deepEqual(one, two);
});

test('GNU tar reads what is written', async () => {
  const name = `${'long/'.repeat(40)}file`;
  const bytes = await archive([
    { name, data: Buffer.from('hello'), sizeBytes: 5, mtimeSeconds: 1_700_000_000, mtimeNanoseconds: 500_000_000 },
    { name: 'owner', uid: 3_000_000_000, mode: 0o4711 },
  ]);
  const listed = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--full-time', '--utc'], {
    input: bytes,
    encoding: 'utf8',
  });
  assert.match(listed, new RegExp(`5 2023-11-14 22:13:20\\.5\\d* ${name}\n`));
  assert.match(listed, /^-rws--x--x 3000000000\/0/m);
});

test('data of another length than announced are an error of the writer', async () => {
  await assert.rejects(archive([{ name: 'a', sizeBytes: 5, data: Buffer.from('four') }]), TarError);
  await assert.rejects(archive([{ name: 'a', sizeBytes: 5 }]), TarError);
  await assert.rejects(archive([{ name: 'a', sizeBytes: 2, data: pieces(Buffer.from('more'), 1) }]), TarError);
});

test('data that nobody reads are skipped', async () => {
  const names = [];
  const bytes = await archive([{ name: 'a', data: Buffer.alloc(5000), sizeBytes: 5000 }, { name: 'b' }]);
  for await (const { name } of readTar(pieces(bytes, 333))) names.push(name);
  assert.deepEqual(names, ['a', 'b']);
});

test('archives that two readers could understand in two ways are refused', async () => {
  const header = (change: (block: Buffer) => void): Buffer => {
    const block = encodeHeader({ ...DEFAULTS, name: 'x' });
    change(block);
    block.fill(0x20, 148, 156);
    block.write(
      `${block
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
      'latin1',
    );
    return block;
  };
  const pax = (body: string): Buffer => {
    const block = header((bytes) => {
      bytes.write('x', 156);
      bytes.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
    });
    return Buffer.concat([block, Buffer.from(body), Buffer.alloc(512 - body.length)]);
  };
  const plain = header(() => undefined);
  const cases: [Buffer, RegExp][] = [
    [Buffer.concat([plain.subarray(0, 300)]), /truncated/],
    [header((block) => block.write('Q', 156)), /entry type "Q"/],
    [header((block) => block.write('M', 156)), /entry type "M"/],
    [header((block) => block.write('5', 156) && block.write('00000000007\0', 124)), /directory with 7 bytes/],
    [header((block) => block.write('0000009\0', 124)), /no octal number/],
    [header((block) => block.fill(0xff, 124, 136)), /negative size/],
    [header((block) => block.fill(0x80, 124, 125) && block.fill(0x7f, 125, 136)), /out of range/],
    [Buffer.concat([TAR_END.subarray(0, 512), plain]), /lone block of zeroes/],
    [Buffer.concat([pax('7 path\n'), plain]), /malformed pax/],
    [Buffer.concat([pax('99 path=x\n'), plain]), /malformed pax/],
    [Buffer.concat([pax('0 path=x\n'), plain]), /malformed pax/],
    [Buffer.concat([pax('11 size=-1\n'), plain]), /pax size "-1"/],
    [Buffer.concat([pax('12 path=a\0b\n'), plain]), /holds a NUL/],
    [Buffer.concat([pax('12 mtime=soon\n').subarray(0, 1024), plain]), /malformed pax|no time/],
    [header((block) => block.write('x', 156) && block.write('77777777777\0', 124)), /extended header of/],
    [header((block) => block.write('\xff', 0, 'latin1')), /not UTF-8/],
  ];
  for (const [bytes, message] of cases) await assert.rejects(read(bytes), { name: 'TarError', message });
  const damaged = Buffer.from(plain);
  damaged[0] = 0x41;
  await assert.rejects(read(damaged), /checksum/);
  await assert.rejects(
    read(Buffer.concat(Array.from({ length: 10 }, () => pax('9 path=x\n')))),
    /more than 8 extended/,
  );
});

test('an archive without its end, and one with padding after it', async () => {
  const bytes = await archive([{ name: 'a' }]);
  assert.equal((await read(bytes.subarray(0, 512))).length, 1);
  assert.equal((await read(Buffer.concat([bytes, Buffer.alloc(10_000, 1)]))).length, 1);
  assert.deepEqual(await read(Buffer.alloc(0)), []);
});

test('bytes changed at random give entries or a TarError, and nothing else', async () => {
  const bytes = await archive([
    { name: 'a', data: Buffer.from('data'), sizeBytes: 4, xattrs: new Map([['user.x', Buffer.from('y')]]) },
    { name: 'n'.repeat(150), type: 'symlink', linkName: 'l'.repeat(120) },
    { name: 'old', mtimeSeconds: -5 },
  ]);
  let seed = 42;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return seed % below;
  };
  let refused = 0;
  for (let round = 0; round < 2000; round += 1) {
    const changed = Buffer.from(bytes);
    for (let change = 0; change <= random(3); change += 1) changed[random(changed.length)] = random(256);
    // Headers with a right checksum get further.
    for (let at = 0; at + 512 <= changed.length; at += 512) {
      const block = changed.subarray(at, at + 512);
      if (block.toString('latin1', 257, 262) !== 'ustar') continue;
      block.fill(0x20, 148, 156);
      block.write(
        `${block
          .reduce((sum, byte) => sum + byte, 0)
          .toString(8)
          .padStart(6, '0')}\0 `,
        148,
        'latin1',
      );
    }
    try {
      await read(changed.subarray(0, random(changed.length)), 4096);
    } catch (error) {
      assert.ok(error instanceof TarError, `round ${round}: ${String(error)}`);
      refused += 1;
    }
  }
  assert.ok(refused > 100);
});

test('names are made safe or refused', () => {
  assert.equal(safeName('/a//./b/'), 'a/b');
  assert.equal(safeName('./'), '');
  assert.equal(safeName('a/..b/...'), 'a/..b/...');
  for (const name of ['..', 'a/../b', '/..', 'a\0b', 'x'.repeat(256), 'x/'.repeat(3000)]) {
    assert.throws(() => safeName(name), TarError);
  }
});

test('an archive that ends where the padding of its last entry begins is whole; one that ends earlier is not', async () => {
  const whole = await archive([{ name: 'a', sizeBytes: 3, data: Buffer.from('abc') }]);
  for (const length of [512 + 3, 512 + 100, 1024])
    assert.deepEqual(
      (await read(whole.subarray(0, length))).map(({ content }) => content),
      ['abc'],
    );
  await assert.rejects(read(whole.subarray(0, 512 + 2)), /truncated/);
});
