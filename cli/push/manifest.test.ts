import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parse } from 'yaml';
import { manifestText, readManifest } from './manifest.ts';

const base = mkdtempSync(join(tmpdir(), 'sampan-manifest-'));
after(() => rmSync(base, { recursive: true }));

function directoryWith(manifest: string): string {
  const directory = mkdtempSync(join(base, 'a-'));
  writeFileSync(join(directory, 'manifest.yml'), manifest);
  return directory;
}

test('without a manifest there is one app with a default route', async () => {
  const directory = mkdtempSync(join(base, 'a-'));
  assert.deepEqual((await readManifest('shop', {}, directory)).apps, [
    { name: 'shop', path: directory, 'default-route': true },
  ]);
});

test('flags lie over the manifest', async () => {
  const directory = directoryWith('applications:\n- name: shop\n  memory: 64M\n  instances: 2\n  path: src\n');
  const [app] = (await readManifest('shop', { memory: '1G', command: 'run', route: false }, directory)).apps;
  assert.equal(app?.memory, '1G');
  assert.equal(app?.instances, 2);
  assert.equal(app?.command, 'run');
  assert.equal(app?.['no-route'], true);
  assert.equal(app?.['default-route'], undefined);
  assert.equal(app?.path, join(directory, 'src'));
});

test('what is sent leaves out what only concerns this machine', async () => {
  const directory = directoryWith('applications:\n- name: shop\n  routes: [{route: a.example.com}]\n');
  const [app] = (await readManifest(undefined, {}, directory)).apps;
  assert.ok(app);
  assert.deepEqual(parse(manifestText(app)), {
    applications: [{ name: 'shop', routes: [{ route: 'a.example.com' }] }],
  });
});

test('one of several apps is chosen by its name, and flags need one', async () => {
  const directory = directoryWith('applications:\n- name: one\n- name: two\n');
  assert.deepEqual(
    (await readManifest('two', {}, directory)).apps.map((app) => app.name),
    ['two'],
  );
  assert.equal((await readManifest(undefined, {}, directory)).apps.length, 2);
  for (const flags of [{ memory: '1G' }, { appStartTimeout: 9 }, { endpoint: '/health' }])
    await assert.rejects(readManifest(undefined, flags, directory), /Name the app/);
});

test('variables are filled in, and one without a value is named', async () => {
  const directory = directoryWith('applications:\n- name: ((who))\n  env: {A: ((deep.value))}\n');
  const [app] = (await readManifest(undefined, { var: { who: 'shop', 'deep.value': '7' } }, directory)).apps;
  assert.equal(app?.name, 'shop');
  await assert.rejects(
    readManifest(undefined, { var: { who: 'shop' } }, directory),
    /\(\(deep\.value\)\).*--var deep\.value=VALUE/s,
  );
  const inherited = directoryWith('applications:\n- name: ((toString))\n');
  await assert.rejects(readManifest(undefined, { var: {} }, inherited), /\(\(toString\)\), which has no value/);
});

test('files of variables are YAML of names and values', async () => {
  const directory = directoryWith('applications:\n- name: ((who))\n');
  const file = join(directory, 'vars.yml');
  const read = async () => (await readManifest(undefined, { varsFile: [file] }, directory)).apps[0]?.name;
  await assert.rejects(read, /Cannot read ".*vars\.yml": no such file or directory.\n.*--vars-file/);
  for (const [text, says] of [
    ['who: [', /Cannot read .*vars\.yml: /],
    ['- who', /vars\.yml has no variables/],
  ] as const) {
    writeFileSync(file, text);
    await assert.rejects(read, says);
  }
  writeFileSync(file, 'who: shop\n');
  assert.equal(await read(), 'shop');
});

test('anchors are followed', async () => {
  const directory = directoryWith('common: &common\n  memory: 64M\napplications:\n- name: one\n  <<: *common\n');
  assert.equal((await readManifest('one', {}, directory)).apps[0]?.memory, '64M');
});

for (const [what, text, says] of [
  ['broken YAML', 'applications: [', /Cannot read .*manifest\.yml/],
  ['no applications', 'apps: []', /has no applications/],
  ['an app without a name', 'applications:\n- memory: 1G', /applications\[0\]\.name is missing/],
] as const) {
  test(`${what} is refused with the place`, async () => {
    await assert.rejects(readManifest('x', {}, directoryWith(text)), says);
  });
}

test('a manifest that is not there is said', async () => {
  await assert.rejects(
    readManifest('x', { manifest: 'nowhere.yml' }, '/tmp'),
    /There is no manifest at \/tmp\/nowhere\.yml/,
  );
});

test('a file of variables that is not there is told, with and without a manifest', async () => {
  const flags = { varsFile: ['/nowhere/values.yml'] };
  const wrong = /\/nowhere\/values\.yml/;
  await assert.rejects(readManifest('shop', flags, mkdtempSync(join(base, 'a-'))), wrong);
  await assert.rejects(readManifest('shop', flags, directoryWith('applications:\n- name: shop\n')), wrong);
});
