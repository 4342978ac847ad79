import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { readTar } from '#lib/tar/read.ts';
import { matchesGolden } from '#testing/golden.ts';
import { startTestRegistry, type TestRegistry } from '#testing/staging-registry.ts';
import { readPrevious, writePrevious } from '../export/previous.ts';
import { StagingError } from '../staging.ts';
import { createBits } from './bits.ts';
import { appRepository, readPackage } from './package-image.ts';
import { limits } from './refuse.ts';
import { contentOf, withZip } from './zip-source.ts';
import { hostileZip, type TestEntry, zipOf } from './zip.testing.ts';

let registry: TestRegistry;
let apps = 0;

before(async () => {
  registry = await startTestRegistry();
});

after(async () => {
  await registry[Symbol.asyncDispose]();
});

const newApp = () => `app-${++apps}`;

async function store(app: string, entries: TestEntry[], bounds: Parameters<typeof createBits>[1] = limits) {
  return await createBits(registry.client, bounds).store({
    app,
    zip: hostileZip(registry.directory, entries),
    resources: [],
  });
}

/** Names, types, modes and content of a package. */
async function packed(app: string, image: string): Promise<string[]> {
  const found = await readPackage(registry.client, appRepository(app), image.split('@')[1] ?? '');
  assert.ok(found);
  const stream = await registry.client.readBlob(appRepository(app), found.layer.digest);
  assert.ok(stream);
  const lines: string[] = [];
  for await (const entry of readTar(stream)) {
    const data = await buffer(entry.data());
    assert.deepEqual([entry.uid, entry.gid], [1000, 1000]);
    lines.push(
      `${entry.type} ${entry.mode.toString(8)} ${entry.name} ${entry.linkName ?? data.toString('utf8')}`.trimEnd(),
    );
  }
  return lines;
}

const link = (name: string, target: string): TestEntry => ({ name, content: target, mode: 0o120777 });

const hostile: [string, TestEntry[]][] = [
  ['a path that leads up', [{ name: '../evil' }]],
  ['a path that leads up in its middle', [{ name: 'a/../../evil' }]],
  ['an absolute path', [{ name: '/etc/passwd' }]],
  ['a path of Windows', [{ name: 'C:\\evil' }]],
  ['a newline', [{ name: 'two\nlines' }]],
  ['an escape sequence', [{ name: 'red\u001b[31m' }]],
  ['a NUL', [{ name: 'nul\0l' }]],
  ['a name that is not UTF-8', [{ name: Buffer.from([0x61, 0xff, 0x62]) }]],
  ['an empty name', [{ name: '' }]],
  ['a component that is too long', [{ name: 'x'.repeat(256) }]],
  ['a path that is too long', [{ name: 'abcdefg/'.repeat(600) + 'file' }]],
  ['a whiteout', [{ name: 'dir/.wh.secret' }]],
  ['a block device', [{ name: 'disk', mode: 0o060644 }]],
  ['a character device', [{ name: 'null', mode: 0o020666 }]],
  ['a pipe', [{ name: 'pipe', mode: 0o010644 }]],
  ['a socket', [{ name: 'socket', mode: 0o140644 }]],
  ['a link to an absolute path', [link('link', '/etc/passwd')]],
  ['a link that leads up', [link('a/link', '../../etc')]],
  ['a link that leads up and down', [link('link', 'a/../../b')]],
  ['a link to nothing', [link('link', '')]],
  ['a file below a link', [link('a', 'b'), { name: 'a/file' }]],
  ['a file below a file', [{ name: 'a' }, { name: 'a/b' }]],
  ['a file over a directory', [{ name: 'a/b' }, { name: 'a' }]],
  ['a file that is there twice', [{ name: 'a' }, { name: './a' }]],
  ['a bomb that lies', [{ name: 'bomb', content: Buffer.alloc(100_000), deflate: true, claims: 10 }]],
  ['a large bomb that lies', [{ name: 'bomb', content: Buffer.alloc(3_000_000), deflate: true, claims: 2_000_000 }]],
  ['a file that is shorter than it says', [{ name: 'short', content: 'abc', deflate: true, claims: 10 }]],
  ['sizes that contradict each other', [{ name: 'short', content: 'abc', claims: 10 }]],
  ['an encrypted file', [{ name: 'secret', content: 'abc', flags: 0x0801 }]],
  ['nothing', []],
];

test('hostile zips are refused with a message that names the entry', async () => {
  const lines: string[] = [];
  for (const [what, entries] of hostile) {
    const app = newApp();
    await assert.rejects(store(app, entries), (error: unknown) => {
      assert.ok(error instanceof StagingError, String(error));
      assert.equal(error.code, 'invalid-bits', error.message);
      assert.doesNotMatch(error.message, /\p{Cc}/u, 'none may reach a terminal');
      lines.push(`${what}\n  ${error.message}`);
      return true;
    });
    assert.deepEqual(await registry.client.tags(appRepository(app)), [], 'nothing half-made stays');
  }
  matchesGolden(join(import.meta.dirname, '..', 'testdata', 'refused-bits.txt'), `${lines.join('\n')}\n`);
});

test('what is too large is refused before it is unpacked', async () => {
  const small = { ...limits, bytes: 1000, files: 3 };
  const many = Array.from({ length: 4 }, (_, index) => ({ name: `f${index}` }));
  await assert.rejects(store(newApp(), many, small), { code: 'too-large', message: /4 entries, more than 3/ });
  const large = [{ name: 'zeros', content: Buffer.alloc(2000), deflate: true }];
  await assert.rejects(store(newApp(), large, small), { code: 'too-large', message: /more than 1000 bytes/ });
});

test('something that is no zip is refused', async () => {
  const path = join(registry.directory, 'no.zip');
  for (const content of ['hello', Buffer.alloc(0), randomBytes(5000)]) {
    writeFileSync(path, content);
    const stored = createBits(registry.client).store({ app: newApp(), zip: path, resources: [] });
    await assert.rejects(stored, { code: 'invalid-bits', message: /no (valid )?zip file/ });
  }
});

test('damage anywhere is noticed or harmless', async () => {
  const path = zipOf(registry.directory, { 'a.txt': 'some content', 'dir/b.txt': 'more of it' });
  const whole = readFileSync(path);
  for (let at = 0; at < whole.length; at += 1) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 0x41;
    writeFileSync(path, damaged);
    try {
      await withZip(path, limits, async (files) => {
        for (const file of files) await contentOf(file);
      });
    } catch (error) {
      assert.ok(error instanceof StagingError, `byte ${at}: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }
});

test('odd but honest names, modes and links are kept', async () => {
  const app = newApp();
  const { image } = await store(app, [
    { name: 'it\'s "quoted" $(here) `too`.txt', content: 'q' },
    { name: 'ünïcode/файл', content: 'u', deflate: true },
    { name: './-rf', content: 'dash' },
    { name: 'bin/run', content: '#!/bin/sh', mode: 0o104755 },
    { name: 'unreadable', content: 'r', mode: 0o100000 },
    link('bin/link', '../-rf'),
    { name: 'empty/', mode: 0o040700 },
    { name: './', mode: 0o040755 },
  ]);
  assert.deepEqual(await packed(app, image), [
    'directory 755 workspace',
    'file 644 workspace/-rf dash',
    'directory 755 workspace/bin',
    'symlink 777 workspace/bin/link ../-rf',
    'file 755 workspace/bin/run #!/bin/sh',
    'directory 755 workspace/empty',
    'file 644 workspace/it\'s "quoted" $(here) `too`.txt q',
    'file 644 workspace/unreadable r',
    'directory 755 workspace/ünïcode',
    'file 644 workspace/ünïcode/файл u',
  ]);
});

test('the same source is the same package, however it is sent', async () => {
  const app = newApp();
  const bits = createBits(registry.client);
  const content = randomBytes(3_000_000);
  const sha1 = (data: Buffer | string) => createHash('sha1').update(data).digest('hex');
  const all: TestEntry[] = [
    { name: 'large', content, deflate: true },
    { name: 'small', content: 's' },
    { name: 'new', content: 'n' },
  ];
  const first = await store(app, all);
  const resources = [
    { sha1: sha1(content), sizeBytes: content.length, path: 'large', mode: 0o644 },
    { sha1: sha1('s'), sizeBytes: 1, path: 'small', mode: 0o644 },
    { sha1: sha1('unknown'), sizeBytes: 7, path: 'other', mode: 0o644 },
    { sha1: sha1('s'), sizeBytes: 2, path: 'wrong size', mode: 0o644 },
  ];
  const matched = await bits.match(resources, [app]);
  assert.deepEqual(
    matched.map(({ path }) => path),
    ['large', 'small'],
  );
  const zip = hostileZip(registry.directory, [{ name: 'new', content: 'n' }]);
  const second = await bits.store({ app, zip, resources: matched });
  assert.deepEqual(second, first);
  assert.deepEqual(await bits.match(resources, [newApp()]), [], "another app's files are not told");
  const other = newApp();
  assert.equal((await bits.store({ app: other, zip, resources: matched, sources: [app] })).checksum, first.checksum);
  await assert.rejects(bits.store({ app: newApp(), zip, resources: matched }), { code: 'invalid-bits' });
  const unknown = bits.store({ app, resources: [resources[2]].filter((each) => each !== undefined) });
  await assert.rejects(unknown, { code: 'invalid-bits', message: /"other" is said to be here/ });
  const escaping = bits.store({ app, resources: matched.map((each) => ({ ...each, path: '../up' })) });
  await assert.rejects(escaping, { code: 'invalid-bits', message: /leads out of the app/ });
});

test('a package can be read as a zip, and removed', async () => {
  const app = newApp();
  const bits = createBits(registry.client);
  const { image } = await store(app, [
    { name: 'run.sh', content: 'echo', mode: 0o100755 },
    link('link', 'run.sh'),
    { name: 'd/e', content: 'x' },
  ]);
  const path = join(registry.directory, 'read.zip');
  writeFileSync(path, await buffer(await bits.read(image)));
  const entries = await withZip(path, limits, async (files) => {
    return await Promise.all(
      files.map(async (file) =>
        `${file.type} ${file.mode.toString(8)} ${file.path} ${await contentOf(file)}`.trimEnd(),
      ),
    );
  });
  assert.deepEqual(entries, ['directory 755 d', 'file 644 d/e x', 'link 777 link run.sh', 'file 755 run.sh echo']);
  await bits.remove(app);
  assert.deepEqual(await registry.client.tags(appRepository(app)), []);
});

test('100,000 small files', async () => {
  const app = newApp();
  const entries = Array.from({ length: 100_000 }, (_, index) => ({
    name: `d${index % 100}/f${index}`,
    content: `file ${index}`,
  }));
  const { sizeBytes } = await store(app, entries);
  assert.equal(
    sizeBytes,
    entries.reduce((sum, { content }) => sum + content.length, 0),
  );
});

test('what builds left for the next one is forgotten, and packages are not', async () => {
  const app = newApp();
  const { image } = await store(app, [{ name: 'a.txt', content: 'a' }]);
  const repository = appRepository(app);
  const left = { stack: 'one', layers: [], stores: { some: 'facts' }, runtimes: ['node'] };
  await writePrevious(registry.client, repository, left);
  assert.deepEqual(await readPrevious(registry.client, repository, 'one'), left);
  const bits = createBits(registry.client);
  for (const _twice of [1, 2]) await bits.forgetBuilds(app);
  assert.deepEqual((await readPrevious(registry.client, repository, 'one')).runtimes, []);
  assert.match((await packed(app, image)).join('\n'), /a\.txt/);
});
