/**
 * What a build leaves for the next one of the same app: its layers with their metadata. A manifest of its own (tag
 * `cache`) holds the blobs; its configuration says which is which.
 */
import type { Reuse } from '../builds/reuse.ts';
import { imageManifest, type Layer } from '../images/oci.ts';
import type { Component } from '../lifecycle/protocol.ts';
import type { RegistryClient } from '../images/registry-client.ts';

export interface KeptLayer {
  buildpack: string;
  name: string;
  metadata: string;
  /** To be mounted in the next build. A layer for launch alone is not, but its blob may be used again. */
  cache: boolean;
  layer: Layer;
  components?: Component[];
}

export interface Previous {
  /** Layers fit only the stack that they were made on. */
  stack: string;
  layers: KeptLayer[];
  stores: Record<string, string>;
  /** Names of the runtimes that were asked for: the next build begins with them. */
  runtimes: string[];
  /** Where the next build may end as this one did. */
  reuse?: Reuse;
}

export const CACHE_TAG = 'cache';
const CONFIG_TYPE = 'application/vnd.sampan.cache.config.v1+json';

export async function readPrevious(registry: RegistryClient, repository: string, stack: string): Promise<Previous> {
  const image = await registry.getImage<Omit<Previous, 'runtimes'> & Partial<Previous>>(repository, CACHE_TAG);
  if (image === undefined || image.config.stack !== stack) return { stack, layers: [], stores: {}, runtimes: [] };
  return { ...image.config, runtimes: image.config.runtimes ?? [] };
}

export async function writePrevious(registry: RegistryClient, repository: string, previous: Previous): Promise<void> {
  const config = Buffer.from(JSON.stringify(previous));
  await registry.putBlob(repository, config);
  const manifest = imageManifest({
    config,
    configMediaType: CONFIG_TYPE,
    artifactType: 'application/vnd.sampan.cache.v1',
    layers: previous.layers.map(({ layer }) => layer),
  });
  await registry.putManifest(repository, CACHE_TAG, manifest);
}
