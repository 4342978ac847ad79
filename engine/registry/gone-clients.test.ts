/** Clients that go away in the middle of a download: nothing of it stays open. */
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { request } from 'node:https';
import { test } from 'node:test';
import { type ImageSource, startImageSource } from '#testing/kill/image-source.ts';
import { Random } from '#testing/kill/random.ts';
import { until } from '#testing/until.ts';

const ACCEPT = 'application/vnd.oci.image.manifest.v1+json';

async function get({ host, ca }: ImageSource, path: string, isCut: boolean): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const [hostname, port] = host.split(':');
  const options = { hostname, port, path, ca, agent: false, headers: { accept: ACCEPT } };
  const call = request(options, (response) => {
    let text = '';
    response.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (isCut) response.destroy();
    });
    response.on('error', () => {});
    response.on('close', () => resolve(text));
  });
  call.on('error', () => resolve(''));
  call.end();
  // Half of them before anything came.
  if (isCut && path.length % 2 === 0) setImmediate(() => call.destroy());
  return await promise;
}

test('a registry closes what its clients do not read to the end', { timeout: 120_000 }, async () => {
  await using source = await startImageSource();
  await source.add('one', new Random(1));
  const manifest = JSON.parse(await get(source, '/v2/fresh/manifests/one', false)) as { layers: { digest: string }[] };
  for (let round = 0; round < 30; round += 1)
    await Promise.all(
      manifest.layers.map(({ digest }) => get(source, `/v2/fresh/blobs/${digest}${'?'.repeat(round % 2)}`, true)),
    );
  await until(async () => openBlobs() === 0);
  assert.equal(openBlobs(), 0);
});

function openBlobs(): number {
  return readdirSync('/proc/self/fd').filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`).includes('/image-source-');
    } catch {
      return false; // It was closed while we looked.
    }
  }).length;
}
