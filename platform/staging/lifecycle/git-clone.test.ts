import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { GitServer } from '#testing/git-server.ts';
import { cloneGit } from './git-clone.ts';
import { readPack } from './git-pack.ts';

let server: GitServer;
let scratch: string;
let first: string;

/** Text that git stores as a delta of itself with one line changed. */
const long = (mark: string) =>
  Array.from({ length: 3000 }, (_, line) => `line ${line} ${line === 1500 ? mark : ''}`).join('\n');

before(async () => {
  server = await new GitServer().listen();
  scratch = mkdtempSync(join(tmpdir(), 'git-clone-'));
  first = server.commit('one', { 'a.txt': 'first', 'bin/run': { run: '#!/bin/sh\n' } });
  server.git('one', ['tag', '--annotate', '--message', 'm', 'v1']);
  server.commit('one', {
    'a.txt': 'second',
    'sub/deep/b.txt': long('b'),
    'sub/c.txt': long('c'),
    link: { link: 'sub/c.txt' },
  });
  server.git('one', ['checkout', '--quiet', '-b', 'other']);
  server.commit('one', { 'a.txt': 'third' });
  server.git('one', ['checkout', '--quiet', 'main']);
  server.git('one', ['gc', '--quiet', '--aggressive']);
});
after(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

async function clone(repository: string, reference?: string): Promise<string> {
  const directory = mkdtempSync(join(scratch, 'clone-'));
  await cloneGit({ url: server.url(repository), reference, directory, http: {}, mostBytes: 10_000_000 });
  return directory;
}

const text = (directory: string, name: string) => readFileSync(join(directory, name), 'utf8');

test('the newest state, a branch, a tag and a commit', async () => {
  const head = await clone('one');
  assert.equal(text(head, 'a.txt'), 'second');
  assert.equal(text(head, 'sub/deep/b.txt'), long('b'));
  assert.equal(text(head, 'sub/c.txt'), long('c'));
  assert.equal(readlinkSync(join(head, 'link')), 'sub/c.txt');
  assert.equal(statSync(join(head, 'bin/run')).mode & 0o777, 0o755);
  assert.equal(existsSync(join(head, '.git')), false);
  assert.equal(text(await clone('one', 'other'), 'a.txt'), 'third');
  assert.equal(text(await clone('one', 'v1'), 'a.txt'), 'first');
  assert.equal(text(await clone('one', first), 'a.txt'), 'first');
});

test('submodules, by addresses of their own and relative ones', async () => {
  server.commit('inner', { 'inner.txt': 'inner' });
  const commit = server.git('inner', ['rev-parse', 'HEAD']);
  server.commit('outer', {
    '.gitmodules': `[submodule "x"]\n\tpath = lib/x\n\turl = ../inner\n[submodule "y"]\n  path = lib/y\n  url = ${server.url('inner')}\n`,
  });
  for (const path of ['lib/x', 'lib/y'])
    server.git('outer', ['update-index', '--add', '--cacheinfo', `160000,${commit},${path}`]);
  server.git('outer', ['commit', '--quiet', '--message', 'modules']);
  const outer = await clone('outer');
  for (const path of ['lib/x', 'lib/y']) assert.equal(text(outer, `${path}/inner.txt`), 'inner');
});

test('what is not there is told', async () => {
  await assert.rejects(clone('one', 'nonsense'), /has no branch, tag or commit "nonsense"/);
  await assert.rejects(clone('nothing'), /is no git repository that can be cloned over HTTP/);
  await assert.rejects(clone('one', '0'.repeat(40)), /does not give commit 0{40}/);
  const directory = mkdtempSync(join(scratch, 'clone-'));
  const small = { url: server.url('one'), reference: undefined, directory, http: {}, mostBytes: 1000 };
  await assert.rejects(cloneGit(small), /more than 1000 bytes/);
});

test('names that lead out, and links under other files, are refused', async () => {
  const blob = server.git('bad', ['hash-object', '-w', '--stdin'], Buffer.from('x'));
  const tree = (...entries: [mode: string, name: string, object: string][]) => {
    const parts = entries.map(([mode, name, object]) =>
      Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(object, 'hex')]),
    );
    return server.git('bad', ['hash-object', '-t', 'tree', '--literally', '-w', '--stdin'], Buffer.concat(parts));
  };
  const branch = (name: string, top: string) => {
    const commit = server.git('bad', ['commit-tree', '-m', 'm', top]);
    server.git('bad', ['update-ref', `refs/heads/${name}`, commit]);
  };
  branch('up', tree(['40000', '..', tree(['100644', 'out.txt', blob])]));
  branch('slash', tree(['100644', 'a/b', blob]));
  branch('git', tree(['40000', '.git', tree(['100644', 'config', blob])]));
  const target = server.git('bad', ['hash-object', '-w', '--stdin'], Buffer.from(join(scratch, 'written')));
  branch('through', tree(['120000', 'a', target], ['100644', 'a', blob]));
  for (const name of ['up', 'slash', 'git']) await assert.rejects(clone('bad', name), /has a file of the name/);
  await assert.rejects(clone('bad', 'through'), /EEXIST/);
  assert.equal(lstatSync(join(scratch, 'written'), { throwIfNoEntry: false }), undefined);
});

test('a pack that was changed anywhere is an error, never more than its limit', () => {
  const header = (count: number) => Buffer.concat([Buffer.from('PACK'), Buffer.from([0, 0, 0, 2, 0, 0, 0, count])]);
  const sealed = (body: Buffer) => Buffer.concat([body, createHash('sha1').update(body).digest()]);
  const plain = Buffer.from('hello hello hello');
  // A blob, then a delta of it by offset: copy 5 bytes from 0, insert "!".
  const blob = Buffer.concat([Buffer.from([0xb1, 0x01]), deflateSync(plain)]);
  const delta = Buffer.from([plain.length, 6, 0x91, 0, 5, 1, 0x21]);
  const second = Buffer.concat([Buffer.from([0x67, blob.length]), deflateSync(delta)]);
  const body = Buffer.concat([header(2), blob, second]);
  const contents = [...readPack(sealed(body), 1000).values()].map(({ data }) => data.toString());
  assert.deepEqual(contents, ['hello hello hello', 'hello!']);
  assert.throws(() => readPack(sealed(body), 20), /more than 20 bytes/);
  let refused = 0;
  for (let at = 0; at < body.length; at += 1) {
    for (const bit of [1, 0x80, 0xff]) {
      const changed = Buffer.from(body);
      changed[at] = (changed[at] ?? 0) ^ bit;
      try {
        readPack(sealed(changed), 1000);
      } catch (error) {
        assert.ok(error instanceof Error);
        refused += 1;
      }
    }
    assert.throws(() => readPack(sealed(body.subarray(0, at)), 1000), Error);
  }
  assert.ok(refused > body.length, `${refused} of ${3 * body.length}`);
});
