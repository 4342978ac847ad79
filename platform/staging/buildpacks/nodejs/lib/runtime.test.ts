import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { componentsOf } from '../../../lifecycle/components.ts';
import { NpmRegistry } from '../../../lifecycle/npm-registry.ts';
import { provideRuntime } from './runtime.ts';

/** A registry with these versions of Node. */
async function startRegistry(
  published: string[],
): Promise<AsyncDisposable & { registry: NpmRegistry; asked: string[] }> {
  const asked: string[] = [];
  const archive = packageOf('#!/bin/sh\n');
  const integrity = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    if (request.url?.includes('/-/')) return response.end(archive);
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const versions = published.map((version) => {
      const dist = { tarball: `${base}/node/-/node-${version}.tgz`, integrity };
      return [version, { version, dist }];
    });
    return response.end(JSON.stringify({ versions: Object.fromEntries(versions) }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    registry: new NpmRegistry({ registry: `http://127.0.0.1:${port}` }),
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function packageOf(program: string): Buffer {
  const path = mkdtempSync(join(tmpdir(), 'node-package-'));
  try {
    for (const name of ['bin/node', 'include/node.h', 'LICENSE']) write(join(path, 'package', name), program);
    return execFileSync('tar', ['-cz', '-C', path, 'package']);
  } finally {
    rmSync(path, { recursive: true });
  }
}

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** Layers with a runtime that is there, and its npm. */
function layersWith(version: string): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'node-layers-'));
  const runtime = join(path, `node-${version}`);
  for (const name of ['npm', 'npx']) write(join(runtime, 'lib/node_modules/npm/bin', `${name}-cli.js`), '');
  write(join(runtime, 'bin', 'node'), '');
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test('without engines the newest even release is taken; the one that is here needs no download', async () => {
  using layers = layersWith('26.10.0');
  await using started = await startRegistry(['24.9.0', '26.10.0', '26.11.0-rc.1', '27.1.0']);
  const { version } = await provideRuntime(layers.path, {}, started.registry);
  assert.equal(version, '26.10.0');
  assert.equal(started.asked.length, 1);
  assert.ok(existsSync(join(layers.path, 'node-26.10.0.toml')));
});

test('a newer one is fetched and told of, unless engines says the one that is here', async () => {
  using layers = layersWith('26.10.0');
  await using started = await startRegistry(['26.10.0', '26.12.1', '27.1.0']);
  const { version } = await provideRuntime(layers.path, {}, started.registry);
  assert.equal(version, '26.12.1');
  assert.equal(readFileSync(join(layers.path, 'node-26.12.1', 'bin', 'node'), 'utf8'), '#!/bin/sh\n');
  assert.ok(existsSync(join(layers.path, 'node-26.12.1', 'bin', 'npm')));
  assert.deepEqual(componentsOf(join(layers.path, 'node-26.12.1.sbom.cdx.json')), [
    { type: 'application', name: 'node', version: '26.12.1', purl: 'pkg:generic/node@26.12.1' },
  ]);
  assert.equal(
    (await provideRuntime(layers.path, { engines: { node: '26.10.0' } }, started.registry)).version,
    '26.10.0',
  );
  assert.deepEqual(
    started.asked.map((path) => path.includes('/-/')),
    [false, true],
  );
});
