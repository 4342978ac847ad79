import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IndexEntry } from '../bits/package-image.ts';
import type { Builder } from '../builder/builder.ts';
import type { BuildResult } from '../lifecycle/protocol.ts';
import { type Reuse, reusable, type ReuseFacts, reuseKey, reuseOf } from './reuse.ts';

const HOUR = 3_600_000;
const layer = {
  name: 'l',
  launch: true,
  build: false,
  cache: true,
  metadata: '',
  environment: [],
  profile: [],
  execD: [],
};
const result: BuildResult = {
  buildpacks: [{ id: 'a/b', version: '1', layers: [{ ...layer, content: 'changed' }] }],
  runtimes: [],
  processes: [],
  workspaceUnchanged: true,
  workspaceLinks: [],
  labels: [],
  opened: ['package.json', 'made-by-the-build'],
};

const index = (files: Record<string, string>): IndexEntry[] =>
  Object.entries(files).map(([path, sha1]) => ({ path, sha1, sizeBytes: 1, mode: 0o644, offset: 0 }));

const facts = (changes: Partial<ReuseFacts> & { files?: Record<string, string> } = {}): ReuseFacts => {
  const { files = { 'package.json': 'p1', 'server.js': 's1' }, ...others } = changes;
  return { key: 'k', package: 'first', shape: 'shape', index: async () => index(files), now: 1000, ...others };
};

async function kept(changes: Partial<BuildResult> = {}): Promise<Reuse | undefined> {
  return await reuseOf({ ...result, ...changes }, { ...facts(), before: undefined });
}

test('a result is taken where nothing changed that the build looked at', async () => {
  const last = await kept();
  const again = (changes: Parameters<typeof facts>[0]) => reusable(last, facts({ package: 'second', ...changes }));
  const found = await again({ files: { 'package.json': 'p1', 'server.js': 's2' } });
  assert.equal(found, last?.result);
  assert.equal(found?.buildpacks[0]?.layers[0]?.content, 'kept');
  assert.equal(await again({ files: { 'package.json': 'p2', 'server.js': 's1' } }), undefined, 'it read this one');
  assert.equal(await again({ files: { 'server.js': 's1' } }), undefined);
  assert.equal(await again({ shape: 'another' }), undefined, 'other names, rights or links');
  assert.equal(await again({ shape: undefined }), undefined);
  assert.equal(await again({ key: 'another' }), undefined, 'other buildpacks or variables');
  assert.equal(await again({ key: undefined }), undefined);
  assert.equal(await again({ package: 'first' }), undefined, 'a package that is built again is built');
  assert.equal(await again({ now: 1001 + HOUR }), undefined, 'what was looked up elsewhere may have changed');
  assert.equal(await again({ now: 999 }), undefined, 'a clock that was turned back');
});

test('what was taken again keeps its time', async () => {
  const last = await kept();
  assert.ok(last);
  const later = { ...facts({ package: 'second', now: 5000 }), before: last };
  assert.deepEqual(await reuseOf(last.result, later), { ...last, package: 'second' });
});

test('nothing is kept of a build of which not all is known', async () => {
  assert.equal(await kept({ workspaceUnchanged: false }), undefined);
  const { opened: _, ...unknown } = result;
  assert.equal(await reuseOf(unknown, { ...facts(), before: undefined }), undefined);
  assert.equal(await reuseOf(result, { ...facts({ key: undefined }), before: undefined }), undefined);
});

test('the key is of builder, buildpacks and variables; what is fetched anew has none', () => {
  const builder = { hash: 'h', stack: { digest: 'd' } } as Builder;
  const key = (changes: Partial<Parameters<typeof reuseKey>[0]> = {}) =>
    reuseKey({
      builder,
      wanted: { chosen: false, groups: [[{ id: 'a/b' }]] },
      uploaded: [],
      environment: {},
      variables: [{ A: '1' }, {}],
      ...changes,
    });
  const uploaded = [{ mediaType: '', digest: 'sha256:1', sizeBytes: 1, diffId: '' }];
  const others = [
    key({ builder: { ...builder, hash: 'other' } }),
    key({ wanted: { chosen: true, groups: [[{ id: 'a/b' }]] } }),
    key({ variables: [{ A: '2' }, {}] }),
    key({ variables: [{}, { A: '1' }] }),
    key({ environment: { http_proxy: 'x' } }),
    key({ uploaded }),
  ];
  assert.equal(new Set([key(), key(), ...others]).size, 1 + others.length);
  assert.equal(key({ wanted: { chosen: true, groups: [[{ id: 'a/b' }, { url: 'https://x' }]] } }), undefined);
});
