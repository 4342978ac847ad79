/** Rebase onto a newer stack: of images as the exporter writes them, over stacks that are a file each. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { writeTar } from '#lib/tar/write.ts';
import { startTestRegistry, type TestRegistry } from '#testing/staging-registry.ts';
import { BUILDER_REPOSITORY, type Builder } from '../builder/builder.ts';
import { readBillOfMaterials, writeBillOfMaterials } from '../export/bill-of-materials.ts';
import { exportDroplet } from '../export/exporter.ts';
import { ownRunImage } from '../export/run-image.ts';
import { fileEntry } from '../images/entries.ts';
import { type ImageConfigFile, imageConfig, imageManifest, type Layer, ociArchitecture } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { BuildResult, Component } from '../lifecycle/protocol.ts';
import { type Runtime, RUNTIMES_REPOSITORY } from '../runtimes/runtimes.ts';
import { rebaseDroplet } from './rebase.ts';

let registry: TestRegistry;
const REPOSITORY = 'cf/app';
const signal = AbortSignal.timeout(120_000);

before(async () => {
  registry = await startTestRegistry();
});
after(() => registry[Symbol.asyncDispose]());

const layerOf = (repository: string, name: string, text: string): Promise<Layer> =>
  pushLayer(registry.client, repository, writeTar([fileEntry(name, text)]));

interface Versions {
  libc: string;
  python?: string;
  suite?: string;
}

async function builderOf({ libc, suite = 'bookworm' }: Versions): Promise<Builder> {
  const stack = await layerOf(BUILDER_REPOSITORY, 'lib/libc.so.6', libc);
  const base = { recipe: 'recipe', edition: libc, suite, packages: { libc6: libc }, offers: {} };
  return { hash: 'h', architecture: ociArchitecture(), stack, base, lifecycle: stack, seeds: [] };
}

async function runtimeOf(name: string, version: string): Promise<Runtime> {
  const launch = await layerOf(RUNTIMES_REPOSITORY, 'usr/bin/python3', version);
  return { name, launch, packages: { launch: { python3: version }, build: {} } };
}

/** Both as the platform has them at the moment. */
async function platformOf(versions: Versions) {
  const builder = await builderOf(versions);
  const made = versions.python === undefined ? [] : [await runtimeOf('python-3.11', versions.python)];
  const provide = async (names: readonly string[]) =>
    names.map((name) => made.find((each) => each.name === name) ?? assert.fail(`${name} is not offered`));
  return { builder, made, context: { registry: registry.client, builder: async () => builder, runtimes: { provide } } };
}

const RESULT: BuildResult = {
  runtimes: [],
  buildpacks: [{ id: 'sampan/python', version: '1', layers: [], components: [{ type: 'library', name: 'flask' }] }],
  processes: [{ type: 'web', command: ['python3', 'app.py'], args: [], default: true }],
  workspaceUnchanged: true,
  workspaceLinks: [],
  labels: [{ key: 'made.by', value: 'somebody' }],
};

/** A droplet of a build; its image. */
async function build(versions: Versions): Promise<string> {
  const { client } = registry;
  const { builder, made } = await platformOf(versions);
  const exported = await exportDroplet({
    registry: client,
    repository: REPOSITORY,
    run: ownRunImage(builder, made),
    seeds: builder.seeds,
    source: await layerOf(REPOSITORY, 'workspace/app.py', 'print()'),
    result: { ...RESULT, runtimes: made.map(({ name }) => name) },
    previous: { stack: builder.stack.digest, layers: [], stores: {}, runtimes: [] },
    readDirectory: () => assert.fail('nothing is read out of a build'),
    layerBytes: 1024 ** 2,
    onProgress: () => undefined,
    signal,
  });
  await client.putManifest(REPOSITORY, 'droplet-old', exported.manifest);
  await writeBillOfMaterials(client, REPOSITORY, exported, exported.components);
  return client.reference(REPOSITORY, exported.digest);
}

async function configOf(image: string): Promise<ImageConfigFile> {
  const { repository, digest } = registry.client.parse(image) ?? assert.fail(image);
  return (await registry.client.getImage<ImageConfigFile>(repository, digest))?.config ?? assert.fail(image);
}

async function componentsOf(image: string): Promise<string[]> {
  const document = JSON.parse((await readBillOfMaterials(registry.client, image)) ?? '{}') as {
    components: Component[];
  };
  return document.components.map(({ name, version }) => `${name} ${version ?? ''}`.trimEnd());
}

test('stack and runtimes are exchanged, all above them stays, and the bill of materials follows', async () => {
  const before = await build({ libc: '2.36', python: '3.11.2' });
  const { builder, made, context } = await platformOf({ libc: '2.36-1', python: '3.11.3' });
  const rebased = (await rebaseDroplet(context, { image: before, droplet: 'new' })) ?? assert.fail('nothing was done');
  const [old, now] = [await configOf(before), await configOf(rebased.image)];
  assert.deepEqual(now.rootfs.diff_ids.slice(0, 2), [builder.stack.diffId, made[0]?.launch?.diffId]);
  assert.deepEqual(now.rootfs.diff_ids.slice(2), old.rootfs.diff_ids.slice(2));
  const { Labels: oldLabels = {}, ...oldRun } = old.config;
  const { Labels: labels = {}, ...run } = now.config;
  assert.deepEqual(run, oldRun);
  assert.deepEqual(Object.keys(labels), Object.keys(oldLabels));
  assert.equal(labels['made.by'], 'somebody');
  const metadata = JSON.parse(labels['io.buildpacks.lifecycle.metadata'] ?? '') as { runImage: object };
  assert.deepEqual(metadata.runImage, { topLayer: now.rootfs.diff_ids[1], reference: 'sampan/stack:recipe' });
  assert.deepEqual(await componentsOf(before), ['sampan/python 1', 'flask', 'libc6 2.36', 'python3 3.11.2']);
  assert.deepEqual(await componentsOf(rebased.image), ['sampan/python 1', 'flask', 'libc6 2.36-1', 'python3 3.11.3']);
  // Whole: every layer can be had from the app's own repository, by the droplet's tag too.
  const image = await registry.client.getImage<ImageConfigFile>(REPOSITORY, 'droplet-new');
  assert.equal(image?.digest, rebased.checksum);
  for (const { digest, size } of image?.manifest.layers ?? [])
    assert.equal(await registry.client.blobSize(REPOSITORY, digest), size);
  // As a build on the new stack would have made it.
  assert.equal(rebased.image, await build({ libc: '2.36-1', python: '3.11.3' }));
  assert.equal(await rebaseDroplet(context, { image: rebased.image, droplet: 'again' }), undefined);
});

test('a runtime alone may be newer', async () => {
  const before = await build({ libc: '2.36', python: '3.11.2' });
  const { context } = await platformOf({ libc: '2.36', python: '3.11.9' });
  assert.notEqual(await rebaseDroplet(context, { image: before, droplet: 'runtime' }), undefined);
});

test('what cannot be is refused with a word on it', async () => {
  const before = await build({ libc: '2.36' });
  const refused = async (image: string, versions: Versions, message: RegExp) =>
    await assert.rejects(rebaseDroplet((await platformOf(versions)).context, { image, droplet: 'x' }), {
      code: 'not-rebasable',
      message,
    });
  await refused(before, { libc: '2.41', suite: 'trixie' }, /made for .* bookworm .*, and the stack is .* trixie /);
  const { client } = registry;
  const labels: Record<string, string>[] = [
    {},
    { 'io.buildpacks.lifecycle.metadata': '{', 'dev.sampan.run-image': '[]' },
  ];
  for (const Labels of labels) {
    const layers = [await layerOf(REPOSITORY, 'a', 'b')];
    const config = imageConfig({ architecture: ociArchitecture(), layers, run: { Labels } });
    await client.putBlob(REPOSITORY, config);
    const digest = await client.putManifest(REPOSITORY, 'foreign', imageManifest({ config, layers }));
    await refused(client.reference(REPOSITORY, digest), { libc: '2' }, /does not say what it runs on/);
  }
  const gone = rebaseDroplet((await platformOf({ libc: '2' })).context, {
    image: client.reference(REPOSITORY, `sha256:${'0'.repeat(64)}`),
    droplet: 'x',
  });
  await assert.rejects(gone, { code: 'registry' });
});
