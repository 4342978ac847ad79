/** Pulls from a registry that breaks off, redirects, wants tokens and lies: behaviour that a sound registry does not show. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';
import { tarOf } from '#testing/oci-layout.ts';
import type { EngineOptions } from '../options.ts';
import { OCI_INDEX, OCI_MANIFEST } from './manifest.ts';
import { type NodeImages, openImages } from './open.ts';
import { isLoopback } from './registry-client.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, path: string) => boolean;

let directory = '';
let ca = '';
let server: Server;
let host = '';
/** Looks at a request first; true when it has answered it. */
let intercept: Handler = () => false;
let log: string[] = [];
const documents = new Map<string, { bytes: Buffer; type: string }>();
let layer: Buffer = Buffer.alloc(0);
let manifestDigest = '';

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'registry-client-'));
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  ca = authority.certificate;
  const pair = await issueCertificate(authority, {
    commonName: 'r',
    ips: ['127.0.0.1'],
    dnsNames: ['localhost'],
    usages: ['server'],
    days: 1,
  });
  server = createServer({ cert: pair.certificate, key: pair.key }, (request, response) => {
    const path = (request.url ?? '').split('?')[0] ?? '';
    log.push(
      `${request.method} ${path.replace(/sha256:([0-9a-f]{6})[0-9a-f]+/, '$1')} ${request.headers.range ?? ''}`.trim(),
    );
    if (!intercept(request, response, path)) serve(request, response, path);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  layer = await tarOf([{ name: 'big', data: Buffer.alloc(400_000, 'abcdefg') }]);
  const put = (bytes: Buffer, type: string): { mediaType: string; digest: string; size: number } => {
    documents.set(digestOf(bytes), { bytes, type });
    return { mediaType: type, digest: digestOf(bytes), size: bytes.length };
  };
  const rootfs = { type: 'layers', diff_ids: [digestOf(layer)] };
  const config = put(
    Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs })),
    'application/vnd.oci.image.config.v1+json',
  );
  const layers = [put(layer, 'application/vnd.oci.image.layer.v1.tar')];
  const manifest = put(
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers })),
    OCI_MANIFEST,
  );
  manifestDigest = manifest.digest;
  const other = { ...manifest, digest: digestOf('other'), platform: { os: 'windows', architecture: 'amd64' } };
  const platforms = ['amd64', 'arm64'].map((architecture) => ({
    ...manifest,
    platform: { os: 'linux', architecture },
  }));
  const index = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [other, ...platforms] }),
  );
  put(index, OCI_INDEX);
  documents.set('latest', { bytes: index, type: OCI_INDEX });
  documents.set('foreign', {
    bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [other] })),
    type: OCI_INDEX,
  });
});

after(async () => {
  server.close();
  server.closeAllConnections();
  await rm(directory, { recursive: true });
});

beforeEach(() => {
  intercept = () => false;
  log = [];
});

function serve(request: IncomingMessage, response: ServerResponse, path: string): void {
  const document = documents.get(path.split('/').at(-1) ?? '');
  if (document === undefined) {
    response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
    return;
  }
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const body = document.bytes.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, { 'content-type': document.type, 'content-length': body.length }).end(body);
}

const isLayer = (path: string): boolean => path.endsWith(digestOf(layer));

async function withImages(
  work: (images: NodeImages, dataDirectory: string) => Promise<void>,
  registries: EngineOptions['registries'] = { [host]: { ca } },
): Promise<void> {
  const dataDirectory = await mkdtemp(join(directory, 'node-'));
  const images = await openImages({ dataDirectory, registries });
  try {
    await work(images, dataDirectory);
    assert.deepEqual(await readdir(join(dataDirectory, 'engine/content/uploads')), []);
  } finally {
    await images.close();
  }
}

test('what is on this machine is told by its address, not by how a name begins', () => {
  for (const name of ['localhost', '127.0.0.1', '127.9.9.9', '[::1]']) assert.ok(isLoopback(name), name);
  for (const name of ['127.example.org', '127.0.0.1.nip.io', 'localhost.example', '10.0.0.1', '[::2]'])
    assert.ok(!isLoopback(name), name);
});

test('the manifest for this platform is chosen from an index', async () => {
  await withImages(async (images) => {
    assert.equal((await images.pull(`${host}/app`)).digest, manifestDigest);
    await assert.rejects(images.pull(`${host}/app:foreign`), {
      code: 'invalid',
      message: /has no manifest for linux\/\w+; it has windows\/amd64/,
    });
  });
});

test('a registry that answers elsewhere than its name says is asked there, and its images keep the name', async () => {
  const work = async (images: NodeImages): Promise<void> => {
    const image = await images.pull('127.0.0.1:1/app');
    assert.deepEqual([image.digest, image.references], [manifestDigest, ['127.0.0.1:1/app:latest']]);
  };
  await withImages(work, { '127.0.0.1:1': { ca, address: host } });
});

test('a download that breaks goes on where it stopped', async () => {
  let breaks = 2;
  intercept = (request, response, path) => {
    if (!isLayer(path) || breaks === 0) return false;
    breaks -= 1;
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': layer.length - start });
    response.write(layer.subarray(start, start + 100_000), () => response.destroy());
    return true;
  };
  await withImages(async (images) => {
    const image = await images.pull(`${host}/app:latest`);
    assert.equal((await images.layerDirectories(image)).length, 1);
    const ranges = log.filter((line) => line.includes('bytes='));
    assert.equal(ranges.length, 2);
    assert.match(ranges[0] ?? '', /bytes=[1-9]\d*-$/);
  });
});

test('a registry without ranges is read again from the start', async () => {
  let first = true;
  intercept = (_, response, path) => {
    if (!isLayer(path)) return false;
    response.writeHead(200, { 'content-length': layer.length });
    if (first) response.write(layer.subarray(0, 100_000), () => response.destroy());
    else response.end(layer);
    first = false;
    return true;
  };
  await withImages(async (images) => {
    await images.pull(`${host}/app:latest`);
  });
});

test('what is not what its digest says is refused, and leaves nothing', async () => {
  const wrong = Buffer.from(layer);
  wrong[1000] = 1;
  for (const body of [wrong, Buffer.concat([layer, Buffer.from('more')])]) {
    intercept = (_, response, path) => {
      if (!isLayer(path)) return false;
      response.writeHead(200).end(body);
      return true;
    };
    await withImages(async (images) => {
      await assert.rejects(images.pull(`${host}/app:latest`), { code: 'invalid' });
      assert.equal(images.content.path(digestOf(layer)), undefined);
      assert.deepEqual(images.list(), []);
    });
  }
  intercept = (_, response, path) => {
    if (!path.endsWith(manifestDigest)) return false;
    response.writeHead(200, { 'content-type': OCI_MANIFEST }).end('{"schemaVersion":2}');
    return true;
  };
  await withImages(async (images) => {
    await assert.rejects(images.pull(`${host}/app@${manifestDigest}`), {
      code: 'invalid',
      message: /sent a manifest with digest/,
    });
  });
});

test('redirects are followed, without the credentials to another host', async () => {
  let seen: string | undefined = 'none';
  const elsewhere = `localhost:${host.split(':')[1]}`;
  intercept = (request, response, path) => {
    if (path.startsWith('/cdn/')) {
      seen = request.headers.authorization;
      return false;
    }
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    }
    if (!isLayer(path)) return false;
    response.writeHead(307, { location: `https://${elsewhere}/cdn/${digestOf(layer)}` }).end();
    return true;
  };
  await withImages(async (images) => {
    await assert.rejects(images.pull(`${host}/app`), { code: 'unauthorized', message: /none are configured/ });
    await images.pull(`${host}/app`, { credentials: { username: 'u', password: 'p' } });
    assert.equal(seen, undefined);
  });
});

test('a bearer token is fetched with the credentials and used', async () => {
  const challenge = `Bearer realm="https://${host}/token",service="reg",scope="repository:app:pull"`;
  let asked = '';
  intercept = (request, response, path) => {
    if (path === '/token') {
      asked = `${request.headers.authorization} ${request.url}`;
      const known = request.headers.authorization === `Basic ${btoa('u:p')}`;
      response.writeHead(known ? 200 : 401).end('{"token":"T0ken"}');
      return true;
    }
    if (request.headers.authorization === 'Bearer T0ken') return false;
    response.writeHead(401, { 'www-authenticate': challenge }).end();
    return true;
  };
  await withImages(async (images) => {
    await assert.rejects(images.pull(`${host}/app`), { code: 'unauthorized' });
    await images.pull(`${host}/app`, { credentials: { username: 'u', password: 'p' } });
    assert.equal(asked, `Basic ${btoa('u:p')} /token?service=reg&scope=repository%3Aapp%3Apull`);
  });
});

test('pulls at the same time fetch a layer once; one that is aborted leaves the others alone', async () => {
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  intercept = (request, response, path) => {
    if (!isLayer(path)) return false;
    reach();
    void held.then(() => serve(request, response, path));
    return true;
  };
  await withImages(async (images) => {
    const controller = new AbortController();
    const aborted = images.pull(`${host}/app:latest`, { signal: controller.signal });
    const others = [images.pull(`${host}/app:latest`), images.pull(`${host}/other@${manifestDigest}`)];
    await reached;
    controller.abort(new Error('enough'));
    await assert.rejects(aborted, /enough/);
    release();
    await Promise.all(others);
    assert.equal(log.filter((line) => line.includes(digestOf(layer).slice(7, 13))).length, 1);
    assert.equal(images.list().length, 1);
  });
});

test('a pull that is aborted alone stops its download', async () => {
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  intercept = (_, response, path) => {
    if (!isLayer(path)) return false;
    response.on('close', close);
    response.writeHead(200, { 'content-length': layer.length });
    response.write(layer.subarray(0, 1000));
    reach();
    return true;
  };
  await withImages(async (images) => {
    const controller = new AbortController();
    const pull = images.pull(`${host}/app:latest`, { signal: controller.signal });
    await reached;
    controller.abort(new Error('enough'));
    await assert.rejects(pull, /enough/);
    await closed;
    await images.close();
  });
});
