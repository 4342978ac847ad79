/** From source to a running droplet, with the real stack, buildpacks and registry; containers are chroots here. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openStagingBed, type StagingBed } from '#testing/staging-bed.ts';
import { shippedOrder } from './builder/builder.ts';
import { readBillOfMaterials } from './export/bill-of-materials.ts';
import { builderImageTests } from '#testing/builder-image-suite.ts';
import { customBuildpackTests } from '#testing/custom-buildpacks-suite.ts';

let bed: StagingBed;

before(async () => {
  bed = await openStagingBed();
});
after(() => bed[Symbol.asyncDispose]());

const stage: StagingBed['stage'] = (...staged) => bed.stage(...staged);
const ask: StagingBed['ask'] = (...asked) => bed.ask(...asked);

/** As the platform ships it: without, the newest that is published is taken. */
const engines = { node: process.versions.node };
const hello = {
  'package.json': JSON.stringify({ name: 'hello', engines, scripts: { start: 'node server.js' } }),
  'server.js': "require('http').createServer((_, r) => r.end('hi ' + process.env.NODE_ENV)).listen(process.env.PORT);",
};

test('a Node.js app without dependencies uses what the platform ships', async () => {
  const { output, exported, stored, result } = await stage('hello', { ...hello, 'sub/deep/a.txt': 'nobody looks' });
  assert.deepEqual(result.opened, ['package.json'], 'what the build looked at');
  assert.match(output, /Node\.js/);
  assert.deepEqual(stored, [], 'nothing had to be taken out of the build');
  assert.deepEqual(exported.processTypes, { web: 'node server.js' });
  assert.equal((await ask('hello')).body, 'hi production');
  assert.equal(
    (
      await ask('hello', '/', [
        "exec node -e \"require('http').createServer((_, r) => r.end('own')).listen(process.env.PORT)\"",
      ])
    ).body,
    'own',
  );
  const again = await stage('hello', { ...hello, 'sub/deep/a.txt': 'nobody looks' });
  assert.equal(again.exported.digest, exported.digest);
});

test('dependencies are a layer of their own and are used again', async () => {
  const app = (words: string) => ({
    'package.json': JSON.stringify({
      name: 'deps',
      engines,
      dependencies: { 'is-odd': '3.0.1' },
      scripts: { start: 'node server.js' },
    }),
    'package-lock.json': readFileSync(join(import.meta.dirname, 'testdata', 'is-odd-lock.json'), 'utf8'),
    'server.js': `const odd = require('is-odd'); require('http').createServer((_, r) => r.end('${words} ' + odd(3))).listen(process.env.PORT);`,
  });
  const first = await stage('deps', app('one'));
  assert.deepEqual(
    first.stored,
    ['storing layer sampan/nodejs:modules'],
    'the app got a link, and is not stored again',
  );
  assert.equal((await ask('deps')).body, 'one true');
  const named = (components: readonly { purl?: string }[], pattern: RegExp) =>
    components.flatMap(({ purl }) => (purl !== undefined && pattern.test(purl) ? [purl] : []));
  assert.deepEqual(named(first.exported.components, /^pkg:npm/), ['pkg:npm/is-number@6.0.0', 'pkg:npm/is-odd@3.0.1']);
  assert.equal(named(first.exported.components, /^pkg:deb\/debian\/(libc6|bash)@.+\?arch=\w+&distro=\w+$/).length, 2);
  assert.deepEqual(named(first.exported.components, /^pkg:generic/), [`pkg:generic/node@${process.versions.node}`]);
  const second = await stage('deps', app('two'));
  assert.deepEqual(second.exported.components, first.exported.components, 'layers that are kept tell the same');
  assert.deepEqual(second.stored, []);
  assert.match(second.output, /unchanged/);
  assert.equal((await ask('deps')).body, 'two true');
  const { client } = bed.registry;
  const image = client.reference('cf/deps', second.exported.digest);
  const document = JSON.parse((await readBillOfMaterials(client, image)) ?? '') as Record<string, unknown>;
  assert.deepEqual([document['bomFormat'], document['components']], ['CycloneDX', second.exported.components]);
  assert.equal(await readBillOfMaterials(client, client.reference('cf/deps', `sha256:${'0'.repeat(64)}`)), undefined);
  const third = await stage('deps', app('one'));
  assert.equal(third.exported.digest, first.exported.digest);
});

const managers: { name: string; lockfile: string; as: string; says: RegExp; files?: Record<string, string> }[] = [
  { name: 'yarn', lockfile: 'yarn-classic.lock', as: 'yarn.lock', says: /Dependencies \(yarn 1\./ },
  {
    name: 'yarn-berry',
    lockfile: 'yarn-berry.lock',
    as: 'yarn.lock',
    says: /Dependencies \(yarn 4\./,
    files: { '.yarnrc.yml': 'nodeLinker: node-modules\n' },
  },
  { name: 'pnpm', lockfile: 'pnpm-lock.yaml', as: 'pnpm-lock.yaml', says: /Dependencies \(pnpm 10\./ },
];
for (const { name, lockfile, as, says, files } of managers) {
  test(`${name}: what its lockfile names, the build script with development dependencies, and a cached second build`, async () => {
    const app = (words: string) => ({
      'package.json': JSON.stringify({
        name: 'managed',
        version: '1.0.0',
        scripts: { start: 'node server.js', build: 'node build.js' },
        dependencies: { ms: '2.1.3' },
        devDependencies: { 'escape-html': '1.0.3' },
      }),
      [as]: readFileSync(join(import.meta.dirname, 'testdata', 'lockfiles', lockfile), 'utf8'),
      'build.js': `require('fs').writeFileSync('built.txt', require('escape-html')('<${words}>'));`,
      'server.js': `let left = 'gone'; try { require.resolve('escape-html'); left = 'there'; } catch {}
require('http').createServer((_, r) => r.end([require('fs').readFileSync('built.txt', 'utf8'), require('ms')(60000), left].join(' '))).listen(process.env.PORT);`,
      ...files,
    });
    const first = await stage(name, app('one'));
    assert.match(first.output, says);
    assert.equal((await ask(name)).body, '&lt;one&gt; 1m gone');
    const second = await stage(name, app('two'));
    assert.match(second.output, /unchanged/);
    assert.equal((await ask(name)).body, '&lt;two&gt; 1m gone');
    const stale = { ...app('one'), 'package.json': app('one')['package.json'].replace('2.1.3', '2.1.2') };
    await assert.rejects(stage(name, stale), (error: Error & { status?: number }) => {
      assert.equal(error.status, 51, error.message);
      assert.match(error.message, /the command above failed/);
      return true;
    });
  });
}

test('a static site is served by nginx', async () => {
  const site = { 'index.html': '<h1>static</h1>', Staticfile: 'pushstate: enabled\n', 'a.css': 'a{}'.repeat(1000) };
  const { exported, stored } = await stage('static', site);
  assert.deepEqual(stored, ['storing layer sampan/staticfile:site']);
  assert.equal(Object.keys(exported.processTypes).join(), 'web');
  assert.equal((await ask('static')).body, '<h1>static</h1>');
  assert.equal((await ask('static', '/some/where')).body, '<h1>static</h1>');
  assert.equal((await ask('static', '/Staticfile')).status, 404);
  const { headers } = await ask('static', '/a.css');
  assert.equal(headers['content-type'], 'text/css; charset=utf-8');
});

test('a Procfile names the processes', async () => {
  const { exported } = await stage('proc', {
    Procfile: 'web: ./serve.sh "$PORT"\nworker: sleep 1000\n',
    'serve.sh': '#!/bin/bash\nexec /bin/bash -c "echo"\n',
  });
  assert.deepEqual(exported.processTypes, { web: './serve.sh "$PORT"', worker: 'sleep 1000' });
  assert.deepEqual(
    exported.buildpacks.map(({ name }) => name),
    ['sampan/binary', 'sampan/procfile'],
  );
});

test('source that no buildpack knows', async () => {
  await assert.rejects(stage('nothing', { 'readme.txt': 'hello' }), {
    status: 20,
    message: /ERROR: no buildpack fits/,
  });
  // As the platform asks, where a Dockerfile may be there besides.
  const all = { chosen: false, groups: (await shippedOrder()).map((group) => [...group]), fallback: true };
  const quiet = (error: Error & { status?: number }) => error.status === 20 && !error.message.includes('ERROR');
  await assert.rejects(stage('nothing', { 'readme.txt': 'hello' }, all), quiet);
});

test('mistakes in the source are told in a sentence', async () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ 'package.json': '{' }, /package\.json is not valid JSON/],
    [{ 'package.json': '{"engines":{"node":"newest"}}' }, /engines\.node "newest" is no version range/],
    [{ 'package.json': '{"engines":{"node":"3.1.4159"}}' }, /matches no published Node\.js version/],
    [{ 'package.json': '{}', 'yarn.lock': '', 'package-lock.json': '{}' }, /lockfiles of several package managers/],
    [{ 'index.html': '', Staticfile: 'root: ../etc\n' }, /Staticfile, line 1: root/],
    [{ Procfile: 'nonsense\n' }, /Procfile, line 1/],
  ];
  for (const [files, message] of cases) {
    await assert.rejects(stage('mistakes', files), (error: Error & { status?: number }) => {
      assert.equal(error.status, 51, error.message);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n\s+at /);
      return true;
    });
  }
});

customBuildpackTests(() => bed);
builderImageTests(() => bed);
