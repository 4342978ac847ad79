/**
 * A droplet on the stack and the runtimes that there are now, without a build: the layers of its run image are exchanged for
 * newer ones, and those above stay as they are, which is sound where both keep the same promises (`abi`).
 */
import { digestOf } from '#lib/digest.ts';
import { rebasedComponents, readBillOfMaterials, writeBillOfMaterials } from '../export/bill-of-materials.ts';
import { ownRunImage, runsOn } from '../export/run-image.ts';
import type { Builder } from '../builder/builder.ts';
import { type ImageConfigFile, type Layer, type Manifest } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import type { Component } from '../lifecycle/protocol.ts';
import type { Runtimes } from '../runtimes/runtimes.ts';
import { StagingError } from '../staging.ts';

export interface RebaseContext {
  registry: RegistryClient;
  builder: () => Promise<Builder>;
  runtimes: Pick<Runtimes, 'provide'>;
}

/** @returns undefined where it is on the newest already. @throws StagingError `not-rebasable` */
export async function rebaseDroplet(
  { registry, builder: prepared, runtimes: known }: RebaseContext,
  { image, droplet }: { image: string; droplet: string },
): Promise<{ image: string; checksum: string; sizeBytes: number } | undefined> {
  const parsed = registry.parse(image);
  const found = parsed && (await registry.getImage<ImageConfigFile>(parsed.repository, parsed.digest));
  if (parsed === undefined || found === undefined)
    throw new StagingError('registry', `${image} is not in the registry any more: push the app again`);
  const builder = await prepared();
  const old = runsOn(found.config);
  if (old === undefined)
    throw new StagingError('not-rebasable', 'its image does not say what it runs on: push or restage it once');
  const runtimes = await known.provide(old.runtimes, () => undefined);
  const run = ownRunImage(builder, runtimes);
  if (old.abi !== run.abi) {
    throw new StagingError(
      'not-rebasable',
      `it was made for ${old.abi}, and the stack is ${run.abi} now: push or restage it`,
    );
  }
  const below = found.config.rootfs.diff_ids.slice(0, old.layers);
  if (run.layers.length === below.length && run.layers.every(({ diffId }, index) => diffId === below[index]))
    return undefined;

  const { repository } = parsed;
  await run.share(registry, repository);
  const made = exchanged(found, old.layers, run);
  await registry.putBlob(repository, made.config);
  await registry.putManifest(repository, `droplet-${droplet}`, made.manifest);
  const digest = digestOf(made.manifest);
  const document = await readBillOfMaterials(registry, image);
  if (document !== undefined) {
    const { components } = JSON.parse(document) as { components: Component[] };
    const now = rebasedComponents(components, run.components);
    await writeBillOfMaterials(registry, repository, { digest, manifest: made.manifest }, now);
  }
  const { layers } = JSON.parse(made.manifest.toString('utf8')) as Manifest;
  const sizeBytes = layers.reduce((sum, { size }) => sum + size, 0);
  return { image: registry.reference(repository, digest), checksum: digest, sizeBytes };
}

/** The same image but for its lowest layers and what is said of them. */
function exchanged(
  { manifest, config }: { manifest: Manifest; config: ImageConfigFile },
  count: number,
  run: { layers: readonly Layer[]; labels: Record<string, string> },
): { manifest: Buffer; config: Buffer } {
  // Which layer each line is of would have to be worked out; nothing reads it.
  const { history: _history, ...rest } = config;
  const changed: ImageConfigFile = {
    ...rest,
    config: { ...config.config, Labels: { ...config.config.Labels, ...run.labels } },
    rootfs: {
      type: 'layers',
      diff_ids: [...run.layers.map(({ diffId }) => diffId), ...config.rootfs.diff_ids.slice(count)],
    },
  };
  const bytes = Buffer.from(JSON.stringify(changed));
  const below = run.layers.map(({ mediaType, digest, sizeBytes: size }) => ({ mediaType, digest, size }));
  const next: Manifest = {
    ...manifest,
    config: { ...manifest.config, digest: digestOf(bytes), size: bytes.length },
    layers: [...below, ...manifest.layers.slice(count)],
  };
  return { manifest: Buffer.from(JSON.stringify(next)), config: bytes };
}
