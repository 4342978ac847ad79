/**
 * What droplets run on: the layers of stack and runtimes, below all others, and the labels by which they are found again in a
 * finished image, so that newer ones can take their place without a build.
 *
 * `io.buildpacks.lifecycle.metadata` is that of Cloud Native Buildpacks (platform specification, "Layer metadata"): the layer up to
 * which an image is its run image. `dev.sampan.run-image` says what our own rebase needs besides.
 */
import { BUILDER_REPOSITORY, type Builder } from '../builder/builder.ts';
import { debianComponents } from './bill-of-materials.ts';
import type { ImageConfigFile, Layer } from '../images/oci.ts';
import type { Component } from '../lifecycle/protocol.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { type Runtime, RUNTIMES_REPOSITORY } from '../runtimes/runtimes.ts';
import { STACK_ID } from '../stack/recipe.ts';
import { STACK_REPOSITORY } from '../stack/stack.ts';

const STACK_LABEL = 'io.buildpacks.stack.id';
const METADATA_LABEL = 'io.buildpacks.lifecycle.metadata';
const RUN_IMAGE_LABEL = 'dev.sampan.run-image';

export interface RunImage {
  architecture: string;
  /** From the bottom. */
  layers: Layer[];
  /** What the layers above may rely on; run images of the same one can stand in for each other. */
  abi: string;
  labels: Record<string, string>;
  /** `NAME=value`, of processes. */
  env: string[];
  /** What is known to be in it. */
  components: Component[];
  /** Makes the layers those of a repository. */
  share(registry: RegistryClient, repository: string, signal?: AbortSignal): Promise<void>;
}

export const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Of the platform's own stack. */
export function ownRunImage(builder: Builder, runtimes: readonly Runtime[]): RunImage {
  const { base, architecture, stack } = builder;
  const layers = [stack, ...runtimes.flatMap(({ launch }) => launch ?? [])];
  const abi = `${STACK_ID} ${base.suite} ${architecture}`;
  const reference = `${STACK_REPOSITORY}:${base.recipe}`;
  const names = runtimes.map(({ name }) => name);
  return {
    architecture,
    layers,
    abi,
    labels: {
      [STACK_LABEL]: STACK_ID,
      ...runImageLabels({ abi, reference, layers, runtimes: names }),
    },
    env: [PATH, 'HOME=/home/vcap', 'LANG=C.UTF-8', `CNB_STACK_ID=${STACK_ID}`],
    components: debianComponents(builder, runtimes),
    async share(registry, repository, signal) {
      const launched = runtimes.flatMap(({ launch }) => launch ?? []);
      await Promise.all([
        registry.shareLayer(repository, stack, BUILDER_REPOSITORY, signal),
        ...launched.map((layer) => registry.shareLayer(repository, layer, RUNTIMES_REPOSITORY, signal)),
      ]);
    },
  };
}

export function runImageLabels(run: {
  abi: string;
  reference: string;
  layers: readonly Layer[];
  /** Names. */
  runtimes?: string[];
}): Record<string, string> {
  const { abi, reference, layers, runtimes = [] } = run;
  const runImage = { topLayer: layers.at(-1)?.diffId, reference };
  const stack = { runImage: { image: reference.replace(/@.*$/, '') } };
  return {
    [METADATA_LABEL]: JSON.stringify({ runImage, stack }),
    [RUN_IMAGE_LABEL]: JSON.stringify({ abi, runtimes }),
  };
}

export interface RunsOn {
  abi: string;
  /** Names. */
  runtimes: string[];
  /** How many of the image's layers, from the bottom, are the run image's. */
  layers: number;
}

/** What an image says that it runs on; undefined where it does not, or where that layer is not in it. */
export function runsOn({ config, rootfs }: ImageConfigFile): RunsOn | undefined {
  try {
    const metadata = JSON.parse(config.Labels?.[METADATA_LABEL] ?? '{}') as { runImage?: { topLayer?: unknown } };
    const { abi, runtimes } = JSON.parse(config.Labels?.[RUN_IMAGE_LABEL] ?? '{}') as Record<string, unknown>;
    const layers = rootfs.diff_ids.indexOf(String(metadata.runImage?.topLayer)) + 1;
    const named = Array.isArray(runtimes) && runtimes.every((name) => typeof name === 'string');
    return typeof abi === 'string' && named && layers > 0 ? { abi, runtimes, layers } : undefined;
  } catch (error) {
    // A label that somebody brought with a droplet of their own.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
