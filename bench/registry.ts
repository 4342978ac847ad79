/**
 * The registry beside Debian's docker-registry: pushes and pulls of a layer of 200 MB, and small manifests, over TLS with the
 * same certificate, by the same client (Node's https, four connections for manifests). Each in a process of its own.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';
import { freePort } from '#lib/ports.ts';
import { startPeerRegistry } from '#testing/peer-registry.ts';
import { installPeer } from './peers.ts';
import { median, type Row } from './row.ts';

const LAYER_BYTES = 200 * 1000 * 1000;
const ROUNDS = 5;
const MANIFESTS = 2000;
const CONNECTIONS = 4;

interface Figures {
  push: number[];
  pull: number[];
  put: number[];
  get: number[];
}

export async function run(): Promise<Row[]> {
  installPeer('docker-registry', 'docker-registry');
  const directory = mkdtempSync(join(tmpdir(), 'bench-registry-'));
  const authority = await createAuthority({ commonName: 'bench', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'r', ips: ['127.0.0.1'], usages: ['server'], days: 1 });
  const tls = { cert: pair.certificate, key: pair.key };
  const ours = await startOurs(directory, tls);
  const peer = await startPeerRegistry({ tls, isOpen: true });
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS, ca: authority.certificate });
  const figures: Record<'ours' | 'peer', Figures> = { ours: empty(), peer: empty() };
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const layer = randomBytes(LAYER_BYTES);
      for (const [name, port] of [
        ['ours', ours.port],
        ['peer', peer.port],
      ] as const)
        await measure(figures[name], { agent, port, layer, repository: `bench/r${round}` });
    }
  } finally {
    agent.destroy();
    await ours.stop();
    await peer[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  }
  const row = (what: string, key: keyof Figures, unit: string, goal: string): Row => ({
    what: `${what} (Node's https)`,
    unit,
    ours: median(figures.ours[key]),
    peer: { name: 'docker-registry', value: median(figures.peer[key]) },
    greater: true,
    goal,
  });
  return [
    row('push of a 200 MB layer', 'push', 'MB/s', 'at least 1 x'),
    row('pull of a 200 MB layer', 'pull', 'MB/s', 'at least 1 x'),
    row('manifests written', 'put', '/s', 'at least 2 x'),
    row('manifests read', 'get', '/s', 'at least 2 x'),
  ];
}

function empty(): Figures {
  return { push: [], pull: [], put: [], get: [] };
}

interface Target {
  agent: Agent;
  port: number;
  layer: Buffer;
  repository: string;
}

async function measure(figures: Figures, target: Target): Promise<void> {
  const { layer, repository } = target;
  const digest = digestOf(layer);
  figures.push.push(await timed(LAYER_BYTES / 1e6, () => pushBlob(target, layer, digest)));
  figures.pull.push(
    await timed(LAYER_BYTES / 1e6, async () => {
      const response = await send(target, 'GET', `/v2/${repository}/blobs/${digest}`);
      const hash = createHash('sha256');
      for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk);
      if (`sha256:${hash.digest('hex')}` !== digest) throw new Error('another blob came');
    }),
  );
  const config = Buffer.from('{}');
  await pushBlob(target, config, digestOf(config));
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const part = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: 2 };
  const manifest = (at: number): Buffer =>
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: type, config: part, layers: [], annotations: { at: `${at}` } }),
    );
  const count = MANIFESTS / 10;
  figures.put.push(
    await timed(count, () =>
      each(count, async (at) => await done(target, 'PUT', `/v2/${repository}/manifests/t${at}`, manifest(at), type)),
    ),
  );
  figures.get.push(
    await timed(MANIFESTS, () =>
      each(
        MANIFESTS,
        async (at) => await done(target, 'GET', `/v2/${repository}/manifests/t${at % count}`, undefined, type),
      ),
    ),
  );
}

async function pushBlob(target: Target, bytes: Buffer, digest: string): Promise<void> {
  const started = await send(target, 'POST', `/v2/${target.repository}/blobs/uploads/`, Buffer.alloc(0));
  started.resume();
  const url = new URL(started.headers.location ?? '', 'https://registry.invalid');
  url.searchParams.set('digest', digest);
  await done(target, 'PUT', `${url.pathname}${url.search}`, bytes, 'application/octet-stream');
}

async function timed(amount: number, work: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await work();
  return (amount * 1000) / (performance.now() - begun);
}

async function each(count: number, work: (at: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
}

async function done(target: Target, method: string, path: string, body?: Buffer, type?: string): Promise<void> {
  const response = await send(target, method, path, body, type);
  response.resume();
  await once(response, 'end');
  const status = response.statusCode ?? 0;
  if (status !== 200 && status !== 201) throw new Error(`${method} ${path}: ${status}`);
}

async function send(
  { agent, port }: Target,
  method: string,
  path: string,
  body?: Buffer,
  type?: string,
): Promise<IncomingMessage> {
  const headers = {
    ...(type === undefined ? {} : { accept: type, 'content-type': type }),
    ...(body === undefined ? {} : { 'content-length': body.length }),
  };
  const outgoing = request({ host: '127.0.0.1', port, agent, method, path, headers });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return response;
}

async function startOurs(
  directory: string,
  tls: { cert: string; key: string },
): Promise<{ port: number; stop(): Promise<void> }> {
  const port = await freePort();
  writeFileSync(join(directory, 'certificate'), tls.cert);
  writeFileSync(join(directory, 'key'), tls.key);
  const program = join(import.meta.dirname, '../engine/registry/testdata/serve.ts');
  const words = [
    program,
    join(directory, 'content'),
    String(port),
    join(directory, 'certificate'),
    join(directory, 'key'),
  ];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return {
    port,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
