/** Toolchains from a module proxy of the test's own; what is in them is a script in place of Go. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { writeApp } from '#testing/sample-apps.ts';
import { hostileZip } from '../../../bits/zip.testing.ts';
import { moduleHash } from './module-hash.ts';
import { toolchainVersion } from './module-proxy.ts';
import { type Bootstrap, provideToolchain } from './toolchain.ts';

const root = mkdtempSync(join(tmpdir(), 'toolchain-'));
after(() => rmSync(root, { recursive: true }));
afterEach(() => {
  delete process.env['GOPROXY'];
});

const VERSION = '1.27.1';
/** Does what Go does where GOTOOLCHAIN names another one. */
const GO = `#!/bin/sh
set -e
root=$GOMODCACHE/golang.org/toolchain@${toolchainVersion('$VERSION')}
mkdir -p "$root/bin"
echo "fetched by $GOTOOLCHAIN" >"$root/bin/go"
chmod -R a-w "$root"
`.replace('go$VERSION', '$GOTOOLCHAIN');
const FILES = { 'bin/go': GO, 'src/_go.mod': 'module std\n', 'pkg/tool/x/compile': '' };
const PREFIX = `golang.org/toolchain@${toolchainVersion(VERSION)}`;
const ZIP = readFileSync(
  hostileZip(
    root,
    Object.entries(FILES).map(([name, content]) => ({ name: `${PREFIX}/${name}`, content })),
  ),
);
const BOOTSTRAP: Bootstrap = {
  version: VERSION,
  hashes: { [process.arch]: moduleHash(writeApp(join(root, 'module'), FILES), PREFIX) },
};

/** A proxy with these versions in its list; others it has, but does not list. Sets GOPROXY. */
async function startProxy(listed: string[], unlisted: string[] = []): Promise<AsyncDisposable & { asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const file = request.url?.replace('/golang.org/toolchain/@v/', '') ?? '';
    asked.push(file);
    const has = [...listed, ...unlisted].some((version) => file === `${toolchainVersion(version)}.info`);
    if (file === 'list') response.end(`${listed.map(toolchainVersion).join('\n')}\nv0.0.1-go1.28.0.plan9-arm\n`);
    else if (file.endsWith('.zip')) response.end(ZIP);
    else response.writeHead(has ? 200 : 404).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.env['GOPROXY'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/,direct`;
  return {
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function layersDirectory(): string {
  return mkdtempSync(join(root, 'layers-'));
}

const minor = { where: 'go.mod: go', version: '1.27', kind: 'least' } as const;
const exact = (version: string) => ({ where: 'go.mod: toolchain', version, kind: 'exact' }) as const;

test('a toolchain is fetched, checked and kept; the next build asks nobody', async () => {
  await using proxy = await startProxy(['1.26.8', VERSION]);
  const layers = layersDirectory();
  const { directory, version } = await provideToolchain(layers, minor, BOOTSTRAP);
  assert.equal(version, VERSION);
  assert.deepEqual(proxy.asked, ['list', `${toolchainVersion(VERSION)}.zip`]);
  for (const program of ['bin/go', 'pkg/tool/x/compile']) accessSync(join(directory, program), constants.X_OK);
  assert.equal(readFileSync(join(directory, 'src/go.mod'), 'utf8'), 'module std\n');
  assert.match(readFileSync(join(layers, `go-${VERSION}.toml`), 'utf8'), /cache = true/);
  assert.equal(existsSync(`${directory}.unpacked`), false);
  await provideToolchain(layers, minor, BOOTSTRAP);
  await provideToolchain(layers, exact(VERSION), BOOTSTRAP);
  assert.equal(proxy.asked.length, 2);
});

test('without a proxy that answers, the toolchain of the last build serves where it fits', async () => {
  const layers = layersDirectory();
  {
    await using _proxy = await startProxy([VERSION]);
    await provideToolchain(layers, exact(VERSION), BOOTSTRAP);
  }
  process.env['GOPROXY'] = 'http://127.0.0.1:1';
  assert.equal((await provideToolchain(layers, minor, BOOTSTRAP)).version, VERSION);
  const other = { ...minor, version: '1.28' };
  await assert.rejects(provideToolchain(layers, other, BOOTSTRAP), /proxy did not answer: .*GOPROXY chooses another/);
  process.env['GOPROXY'] = 'direct';
  await assert.rejects(provideToolchain(layers, other, BOOTSTRAP), /GOPROXY "direct" names no proxy/);
});

test('another proxy is asked where the first has no toolchains', async () => {
  await using proxy = await startProxy([VERSION]);
  process.env['GOPROXY'] = `http://127.0.0.1:1|${process.env['GOPROXY']}`;
  assert.equal((await provideToolchain(layersDirectory(), minor, BOOTSTRAP)).version, VERSION);
  assert.equal(proxy.asked.length, 2);
});

test('what is not what it should be is not unpacked into a layer', async () => {
  await using _proxy = await startProxy([VERSION]);
  const layers = layersDirectory();
  const wrong: Bootstrap = { version: VERSION, hashes: { [process.arch]: 'h1:AAAA' } };
  await assert.rejects(provideToolchain(layers, minor, wrong), /has the hash h1:\S+ instead of h1:AAAA.*GOPROXY/);
  assert.equal(existsSync(join(layers, `go-${VERSION}`)), false);
});

test('a version that cannot be had is told with those that can; a list need not be whole', async () => {
  await using proxy = await startProxy(['1.21.13', '1.26.8'], [VERSION]);
  const layers = layersDirectory();
  assert.equal((await provideToolchain(layers, exact(VERSION), BOOTSTRAP)).version, VERSION);
  await assert.rejects(
    provideToolchain(layers, exact('1.27.9'), BOOTSTRAP),
    /toolchain asks for Go "1\.27\.9", which cannot be had; there are 1\.21\.13, 1\.26\.8, and older ones/,
  );
  const before = proxy.asked.length;
  await assert.rejects(provideToolchain(layers, exact('../../x'), BOOTSTRAP), /Go "\.\.\/\.\.\/x", which cannot/);
  assert.deepEqual(proxy.asked.slice(before), ['list'], 'no address is made of it');
});

test('another version is fetched by the pinned one', async () => {
  await using _proxy = await startProxy(['1.26.8', VERSION]);
  const layers = layersDirectory();
  const { directory, version } = await provideToolchain(layers, { ...minor, version: '1.26' }, BOOTSTRAP);
  assert.equal(version, '1.26.8');
  assert.equal(readFileSync(join(directory, 'bin', 'go'), 'utf8'), 'fetched by go1.26.8\n');
  assert.deepEqual(readdirSync(layers).sort(), ['go-1.26.8', 'go-1.26.8.toml', 'store.toml']);
});
