/** From source to a running droplet, with the real stack, buildpacks and registry; containers are chroots here. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ChrootContainer } from '#testing/staging-root.ts';
import { startTestRegistry, type TestRegistry } from '#testing/staging-registry.ts';
import { writeTar } from '#lib/tar/write.ts';
import { createBits } from './bits/bits.ts';
import { appRepository, readPackage } from './bits/package-image.ts';
import { BUILDER_REPOSITORY, type Builder, ensureBuilder } from './builder/builder.ts';
import { restoredEntries } from './builder/build-image.ts';
import { type Exported, exportDroplet } from './export/exporter.ts';
import { parseBuildResult } from './export/build-result.ts';
import { readPrevious, writePrevious } from './export/previous.ts';
import type { ImageConfigFile, Layer, Manifest } from './images/oci.ts';
import { zipOf } from './bits/zip.testing.ts';

let registry: TestRegistry;
let builder: Builder;
/** What every build, and what most droplets, begin with. */
let buildBase: ChrootContainer;
let stackBase: ChrootContainer;

before(async () => {
  registry = await startTestRegistry();
  builder = await ensureBuilder({ registry: registry.client, temporaryDirectory: registry.directory, npm: {} });
  buildBase = new ChrootContainer();
  const shipped = [builder.stack, ...builder.seeds.map(({ layer }) => layer), builder.lifecycle];
  await buildBase.unpack(registry.client, BUILDER_REPOSITORY, shipped);
  stackBase = new ChrootContainer();
  await stackBase.unpack(registry.client, BUILDER_REPOSITORY, [builder.stack]);
});

after(async () => {
  buildBase[Symbol.dispose]();
  stackBase[Symbol.dispose]();
  await registry[Symbol.asyncDispose]();
});

interface Staged {
  output: string;
  exported: Exported;
  stored: string[];
}

async function stage(app: string, files: Record<string, string>, buildpacks?: string[]): Promise<Staged> {
  const { client } = registry;
  const repository = appRepository(app);
  const bits = createBits(client);
  const { image } = await bits.store({ app, zip: zipOf(registry.directory, files), resources: [] });
  const source = await readPackage(client, repository, image.split('@')[1] ?? '');
  assert.ok(source);
  const previous = await readPrevious(client, repository, builder.stack.digest);
  using container = new ChrootContainer(buildBase);
  await container.unpack(
    client,
    repository,
    previous.layers.filter(({ cache }) => cache).map(({ layer }) => layer),
  );
  await container.unpackTar(writeTar(restoredEntries(builder, previous)));
  await container.unpack(client, repository, [source.layer]);
  container.useNetwork();
  const ca = '/etc/ssl/certs/ca-certificates.crt';
  const { status, output } = container.run(['/cnb/node', '/cnb/lifecycle/main.js'], {
    NODE_EXTRA_CA_CERTS: ca,
    npm_config_cafile: ca,
    ...(buildpacks === undefined ? {} : { SAMPAN_BUILDPACKS: JSON.stringify(buildpacks) }),
  });
  if (status !== 0) throw Object.assign(new Error(output), { status });
  const stored: string[] = [];
  const exported = await exportDroplet({
    registry: client,
    repository,
    builder,
    source: source.layer,
    result: parseBuildResult(container.readFile('/layers/.sampan-result.json')),
    previous,
    readDirectory: (path) => container.readDirectory(path),
    layerBytes: 1024 ** 3,
    onProgress: (message) => stored.push(message),
    signal: AbortSignal.timeout(120_000),
  });
  await client.putManifest(repository, 'droplet', exported.manifest);
  await writePrevious(client, repository, exported.next);
  return { output, exported, stored };
}

/** Starts the droplet and asks it; the answer's body and headers. */
async function ask(
  app: string,
  path = '/',
  args: string[] = [],
): Promise<{ status: number; body: string; headers: Record<string, unknown> }> {
  const repository = appRepository(app);
  const image = await registry.client.getImage<ImageConfigFile>(repository, 'droplet');
  assert.ok(image);
  using container = new ChrootContainer(stackBase);
  await container.unpack(registry.client, repository, layersOf(image.manifest, image.config).slice(1));
  const port = await freePort();
  const child = container.start([...(image.config.config.Entrypoint ?? []), ...args], {
    PORT: String(port),
    HOME: '/home/vcap',
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, 'exit');
  try {
    return await Promise.race([
      answered(port, path),
      exited.then(([code]) => Promise.reject(new Error(`the app ended with ${code}: ${output}`))),
    ]);
  } finally {
    child.kill('SIGTERM');
    await exited;
  }
}

function layersOf(manifest: Manifest, config: ImageConfigFile): Layer[] {
  return manifest.layers.map(({ mediaType, digest, size }, index) => {
    return { mediaType, digest, sizeBytes: size, diffId: config.rootfs.diff_ids[index] ?? '' };
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Connects until somebody listens: the app tells nobody when it does. */
async function answered(
  port: number,
  path: string,
): Promise<{ status: number; body: string; headers: Record<string, unknown> }> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      const call = request({ host: '127.0.0.1', port, path, agent: false }).end();
      const [answer] = await once(call, 'response');
      let body = '';
      for await (const chunk of answer) body += chunk;
      return { status: answer.statusCode, body, headers: answer.headers };
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(20);
    }
  }
}

const hello = {
  'package.json': JSON.stringify({ name: 'hello', scripts: { start: 'node server.js' } }),
  'server.js': "require('http').createServer((_, r) => r.end('hi ' + process.env.NODE_ENV)).listen(process.env.PORT);",
};

test('a Node.js app without dependencies uses what the platform ships', async () => {
  const { output, exported, stored } = await stage('hello', hello);
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
  const again = await stage('hello', hello);
  assert.equal(again.exported.digest, exported.digest);
});

test('dependencies are a layer of their own and are used again', async () => {
  const app = (words: string) => ({
    'package.json': JSON.stringify({
      name: 'deps',
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
  const second = await stage('deps', app('two'));
  assert.deepEqual(second.stored, []);
  assert.match(second.output, /unchanged/);
  assert.equal((await ask('deps')).body, 'two true');
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
  await assert.rejects(stage('nothing', { 'readme.txt': 'hello' }), { status: 20 });
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
