/**
 * Builder images of Cloud Native Buildpacks (its platform specification, "Builders"): what their labels say, and the run image that
 * they name. Both are pulled into the platform's registry.
 */
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { Component } from '../lifecycle/protocol.ts';
import { type PulledImage, pullImage, type PullOptions } from '../images/pull-image.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { PATH, type RunImage, runImageLabels } from '../export/run-image.ts';
import { StagingError } from '../staging.ts';

const BUILDER_LABEL = 'io.buildpacks.builder.metadata';
const STACK_LABEL = 'io.buildpacks.stack.id';
const DISTRIBUTION = ['name', 'version'] as const;

export interface BuilderImage {
  name: string;
  image: PulledImage;
  runName: string;
  run: PulledImage;
}

export interface PullContext {
  registry: RegistryClient;
  guard: AddressGuard;
  access?: PullOptions['access'];
  onProgress: (message: string) => void;
  signal: AbortSignal;
}

/** @throws StagingError `build-failed` for an image that is no builder, or whose run image does not fit it */
export async function openBuilderImage(context: PullContext, name: string): Promise<BuilderImage> {
  const image = await pullImage(context.registry, { ...context, image: name });
  const labels = image.config.config.Labels ?? {};
  const runName = runImageName(name, labels[BUILDER_LABEL]);
  const run = await pullImage(context.registry, { ...context, image: runName });
  const [own, its] = [labels[STACK_LABEL], run.config.config.Labels?.[STACK_LABEL]];
  if (own !== undefined && its !== undefined && own !== its)
    throw new StagingError(
      'build-failed',
      `builder ${name} is for stack ${own}, and its run image ${runName} is ${its}`,
    );
  return { name, image, runName, run };
}

interface Metadata {
  stack?: { runImage?: { image?: unknown } };
  images?: { image?: unknown }[];
}

function runImageName(name: string, label: string | undefined): string {
  let metadata: Metadata = {};
  try {
    metadata = JSON.parse(label ?? 'null') as Metadata;
  } catch {
    metadata = {};
  }
  const found = metadata?.images?.[0]?.image ?? metadata?.stack?.runImage?.image;
  if (typeof found === 'string' && found !== '') return found;
  const why = label === undefined ? `it has no label ${BUILDER_LABEL}` : 'it names no run image';
  throw new StagingError('build-failed', `image ${name} is no builder of Cloud Native Buildpacks: ${why}`);
}

/** What buildpacks of the image are told of it. */
export function builderEnvironment({ image, run }: BuilderImage): string[] {
  const labels = { ...run.config.config.Labels, ...image.config.config.Labels };
  const distribution = DISTRIBUTION.flatMap((part) => {
    const value = labels[`io.buildpacks.base.distro.${part}`];
    return value === undefined ? [] : [`CNB_TARGET_DISTRO_${part.toUpperCase()}=${value}`];
  });
  const stack = labels[STACK_LABEL];
  return [
    ...(image.config.config.Env ?? []),
    ...distribution,
    ...(stack === undefined ? [] : [`CNB_STACK_ID=${stack}`]),
    'HOME=/home/vcap',
  ];
}

/** Droplets run on the run image that the builder names. */
export function builderRunImage({ run, runName }: BuilderImage, architecture: string): RunImage {
  const { Env = [], Labels = {} } = run.config.config;
  const stack = Labels[STACK_LABEL];
  const reference = `${runName.replace(/@.*$/, '')}@${run.digest}`;
  const abi = `${stack ?? 'run image'} ${runName} ${architecture}`;
  const components: Component[] = [{ type: 'container', name: runName, version: run.digest }];
  return {
    architecture,
    layers: run.layers,
    abi,
    labels: {
      ...(stack === undefined ? {} : { [STACK_LABEL]: stack }),
      ...runImageLabels({ abi, reference, layers: run.layers }),
    },
    env: [
      ...(Env.some((entry) => entry.startsWith('PATH=')) ? [] : [PATH]),
      ...Env.filter((entry) => !entry.startsWith('HOME=')),
      'HOME=/workspace',
    ],
    components,
    async share(registry, repository, signal) {
      for (const layer of run.layers) await registry.shareLayer(repository, layer, run.repository, signal);
    },
  };
}
