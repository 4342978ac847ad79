import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NpmRegistry } from '../../../lifecycle/npm-registry.ts';
import { provideRuntime } from './runtime.ts';

/** A registry with these versions of Node, and nothing to download. */
async function startRegistry(
  published: string[],
): Promise<AsyncDisposable & { registry: NpmRegistry; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    if (request.url?.includes('/-/')) return response.writeHead(404).end();
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const versions = published.map((version) => {
      const dist = { tarball: `${base}/node/-/node-${version}.tgz`, integrity: 'sha512-AAAA' };
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

/** Layers with a runtime that is there. */
function layersWith(version: string): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'node-layers-'));
  mkdirSync(join(path, `node-${version}`, 'bin'), { recursive: true });
  writeFileSync(join(path, `node-${version}`, 'bin', 'node'), '');
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

test('a newer one is fetched, unless engines says the one that is here', async () => {
  using layers = layersWith('26.10.0');
  await using started = await startRegistry(['26.10.0', '26.12.1', '27.1.0']);
  await assert.rejects(provideRuntime(layers.path, {}, started.registry), /26\.12\.1\.tgz: 404/);
  const { version } = await provideRuntime(layers.path, { engines: { node: '26.10.0' } }, started.registry);
  assert.equal(version, '26.10.0');
  assert.deepEqual(
    started.asked.map((path) => path.includes('/-/')),
    [false, true],
  );
});
