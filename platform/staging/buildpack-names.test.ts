import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Buildpack, CatalogEntry } from '../resources/types.ts';
import { shippedBuildpacks, shippedOrder } from './builder/builder.ts';
import { listedName, wantedBuildpacks } from './buildpack-names.ts';
import { catalogueOf, shippedGuid } from './catalogue.ts';

const shipped = await shippedBuildpacks();
const order = await shippedOrder();
const listed = shipped.map(({ id, version }, index) => ({
  name: listedName(id),
  version,
  position: index + 1,
  stack: 'sampan',
}));
listed.push({ name: 'dockerfile', version: '1', position: listed.length + 1, stack: 'sampan' });

const stored = <Spec>(name: string, spec: Spec) => ({
  metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
  spec,
});

function known(
  changes: { entries?: Record<string, CatalogEntry['spec']>; uploaded?: Partial<Buildpack['spec']>[] } = {},
) {
  const uploaded: Stored<Buildpack>[] = (changes.uploaded ?? []).map((spec, index) =>
    stored(`guid-${index}`, {
      displayName: `own-${index}`,
      position: 1,
      enabled: true,
      locked: false,
      filename: 'f.zip',
      ...spec,
    }),
  );
  const entries = new Map(
    Object.entries(changes.entries ?? {}).map(([name, spec]) => [shippedGuid(name), stored(name, spec)]),
  );
  return { catalogue: catalogueOf({ shipped: listed, entry: (guid) => entries.get(guid), uploaded }), shipped, order };
}

const choice = (buildpacks: string[], changes?: Parameters<typeof known>[0]) =>
  wantedBuildpacks({ buildpacks, stack: 'sampan' }, known(changes));
const wanted = (...chosen: Parameters<typeof choice>) => choice(...chosen).wanted;

test("buildpacks go by Cloud Foundry's names, short names, ids and addresses", () => {
  const url = 'https://example.com/a.git#v1';
  assert.deepEqual(wanted(['nodejs_buildpack', 'Binary', 'sampan/procfile', 'own-0', url], { uploaded: [{}] }), {
    chosen: true,
    groups: [
      [
        { id: 'sampan/nodejs' },
        { id: 'sampan/binary' },
        { id: 'sampan/procfile' },
        { directory: 'guid-0', name: 'own-0' },
        { url },
      ],
    ],
  });
  const refused = (name: string, message: RegExp, changes?: Parameters<typeof known>[0]) =>
    assert.throws(() => wanted([name], changes), { code: 'no-app-detected', message });
  refused('cobol_buildpack', /there is no such buildpack; there are staticfile_buildpack/);
  refused('https://a:b@example.com/y.git', /login/);
  refused('own-0', /no such buildpack/, { uploaded: [{ enabled: false }] });
  refused('own-0', /no such buildpack/, { uploaded: [{ stack: 'another' }] });
  refused('nodejs_buildpack', /no such buildpack/, { entries: { nodejs_buildpack: { enabled: false } } });
});

test('without a name all are tried in their order', () => {
  assert.deepEqual(wanted([]), { chosen: false, groups: order, fallback: true });
  const ids = (changes: Parameters<typeof known>[0]) =>
    wanted([], changes).groups.map(
      (group) => group.map((entry) => ('id' in entry ? entry.id : JSON.stringify(entry)))[0],
    );
  const first = order.map((group) => group[0]?.id ?? '');
  const own = JSON.stringify({ directory: 'guid-0', name: 'own-0' });
  assert.deepEqual(ids({ uploaded: [{}] }), [own, ...first]);
  assert.deepEqual(ids({ uploaded: [{ position: 100 }, { filename: undefined as never }] }), [...first, own]);
  assert.deepEqual(
    ids({ entries: { nodejs_buildpack: { enabled: false } } }),
    first.filter((id) => id !== 'sampan/nodejs'),
  );
  assert.deepEqual(ids({ entries: { binary_buildpack: { position: 0 } } })[0], 'sampan/binary');
  const off = wanted([], { entries: { procfile_buildpack: { enabled: false } } });
  assert.ok(off.groups.every((group) => group.every((entry) => 'id' in entry && entry.id !== 'sampan/procfile')));
});

test('a Dockerfile is the last of the order, unless an administrator says otherwise, or the app names it', () => {
  const after = (changes: Parameters<typeof known>[0]) => choice([], changes).dockerfile?.after;
  assert.deepEqual(choice([]).dockerfile, { path: 'Dockerfile', after: order.length });
  assert.equal(after({ uploaded: [{}] }), order.length + 1);
  assert.equal(after({ entries: { dockerfile: { position: 0 } } }), 0);
  assert.equal(after({ entries: { dockerfile: { enabled: false } } }), undefined);
  const named = (path: string) => ({ wanted: { chosen: true, groups: [] }, dockerfile: { path, after: 0 } });
  assert.deepEqual(choice(['dockerfile']), named('Dockerfile'));
  assert.deepEqual(choice(['dockerfile:./deploy/Dockerfile.web']), named('deploy/Dockerfile.web'));
  const refused = (buildpacks: string[], message: RegExp, changes?: Parameters<typeof known>[0]) =>
    assert.throws(() => choice(buildpacks, changes), { code: 'no-app-detected', message });
  for (const path of ['', '/etc/passwd', 'a/../../b', 'a\n']) refused([`dockerfile:${path}`], /relative to the source/);
  refused(['dockerfile', 'nodejs_buildpack'], /alone/);
  refused(['dockerfile'], /no such buildpack/, { entries: { dockerfile: { enabled: false } } });
});
