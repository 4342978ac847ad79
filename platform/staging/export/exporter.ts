/**
 * The trusted exporter: turns what a build left into a droplet. It reads the build container only as tar streams, pushes
 * only what the registry lacks, and gives the same bytes for the same content.
 */
import { writeTar } from '#lib/tar/write.ts';
import { digestOf } from '#lib/digest.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BUILDER_REPOSITORY, type Seed } from '../builder/builder.ts';
import { directoryEntry, fileEntry, linkEntry } from '../images/entries.ts';
import { imageConfig, imageManifest, type Layer } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import type { BuildResult, Component, ResultLayer } from '../lifecycle/protocol.ts';
import { StagingError } from '../staging.ts';
import { dropletComponents } from './bill-of-materials.ts';
import { hostileLayer } from './hostile-layer.ts';
import { commandLine, launchFiles, launchProcesses } from './launch.ts';
import type { Previous } from './previous.ts';
import type { RunImage } from './run-image.ts';

export interface ExportOptions {
  registry: RegistryClient;
  repository: string;
  run: RunImage;
  /** Layers that a build may have left as they were shipped. */
  seeds: readonly Seed[];
  /** Layer of the package that was built. */
  source: Layer;
  result: BuildResult;
  previous: Previous;
  /** A tar stream of one directory of the build container, its names relative to the root. */
  readDirectory: (path: string) => AsyncIterable<Uint8Array>;
  /** Of one layer, unpacked. */
  layerBytes: number;
  onProgress: (message: string) => void;
  signal: AbortSignal;
}

export interface Exported {
  /** Of the droplet's manifest. */
  digest: string;
  manifest: Buffer;
  sizeBytes: number;
  processTypes: Record<string, string>;
  buildpacks: { name: string; version: string }[];
  next: Previous;
  /** For the bill of materials. */
  components: Component[];
}

const ENTRIES = 1_000_000;

export async function exportDroplet(options: ExportOptions): Promise<Exported> {
  const { registry, repository, run, result, signal } = options;
  const next: Previous = { stack: options.previous.stack, layers: [], stores: {}, runtimes: result.runtimes };
  const layers: Layer[] = [...run.layers];
  const components: Component[] = [];
  const shared = run.share(registry, repository, signal);
  // Awaited below, where all layers have to be there.
  shared.catch(() => undefined);
  for (const buildpack of result.buildpacks) {
    components.push(...(buildpack.components ?? []));
    if (buildpack.store !== undefined) next.stores[buildpack.id] = buildpack.store;
    for (const layer of buildpack.layers) {
      if (!layer.launch && !layer.cache) continue;
      const exported = await exportLayer(options, buildpack.id, layer);
      if (layer.launch) layers.push(exported.layer);
      if (layer.launch) components.push(...exported.components);
      if (!exported.seed) {
        const { name, metadata, cache } = layer;
        const { layer: stored, components: made } = exported;
        next.layers.push({ buildpack: buildpack.id, name, metadata, cache, layer: stored, components: made });
      }
    }
  }
  layers.push(await exportSource(options));
  const launch = writeTar(launchEntries(result, await launcher()));
  layers.push(await pushLayer(registry, repository, launch, { isShort: true, signal }));
  await shared;

  const processes = launchProcesses(result);
  const processTypes = Object.fromEntries([...processes].map(([type, process]) => [type, commandLine(process)]));
  const buildpacks = result.buildpacks.map(({ id, version }) => ({ name: id, version }));
  const labels: Record<string, string> = {};
  for (const { key, value } of result.labels) labels[key] = value;
  Object.assign(labels, run.labels);
  labels['io.buildpacks.build.metadata'] = JSON.stringify({
    buildpacks: result.buildpacks.map(({ id, version }) => ({ id, version })),
    processes: [...processes.values()].map(({ type, command, args }) => ({ type, command, args })),
    launcher: { version: '1.0.0' },
  });
  const config = imageConfig({
    architecture: run.architecture,
    layers,
    run: {
      User: '1000:1000',
      Env: [...run.env, 'CNB_APP_DIR=/workspace', 'CNB_LAYERS_DIR=/layers'],
      Entrypoint: ['/cnb/launcher'],
      WorkingDir: '/workspace',
      ExposedPorts: { '8080/tcp': {} },
      Labels: labels,
    },
  });
  await registry.putBlob(repository, config, signal);
  const manifest = imageManifest({ config, layers });
  const sizeBytes = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
  return {
    digest: digestOf(manifest),
    manifest,
    sizeBytes,
    processTypes,
    buildpacks,
    next,
    components: dropletComponents(run.components, result, components),
  };
}

async function exportLayer(
  options: ExportOptions,
  buildpack: string,
  layer: ResultLayer,
): Promise<{ layer: Layer; seed: boolean; components: Component[] }> {
  const { registry, repository, seeds, previous, signal } = options;
  const isThis = (kept: { buildpack: string; name: string }) =>
    kept.buildpack === buildpack && kept.name === layer.name;
  if (layer.content !== 'changed') {
    const kept = previous.layers.find(isThis);
    if (kept !== undefined) return { layer: kept.layer, seed: false, components: kept.components ?? [] };
    const seed = seeds.find(isThis);
    if (seed !== undefined && layer.content === 'kept') {
      await registry.shareLayer(repository, seed.layer, BUILDER_REPOSITORY, signal);
      return { layer: seed.layer, seed: true, components: seed.components };
    }
    throw new StagingError('build-failed', `buildpack ${buildpack} keeps layer ${layer.name}, which there never was`);
  }
  const directory = buildpack.replaceAll('/', '_');
  options.onProgress(`storing layer ${buildpack}:${layer.name}`);
  const stream = options.readDirectory(`layers/${directory}/${layer.name}`);
  const entries = hostileLayer(stream, `layers/${directory}/${layer.name}`, limits(options));
  const tar = writeTar(entries, { encoding: 'latin1' });
  const stored = await pushLayer(registry, repository, tar, { signal });
  return { layer: stored, seed: false, components: layer.components ?? [] };
}

/** The app itself: the package's own layer where the build changed nothing. */
async function exportSource(options: ExportOptions): Promise<Layer> {
  if (options.result.workspaceUnchanged) return options.source;
  options.onProgress('storing the app');
  const stream = options.readDirectory('workspace');
  const entries = hostileLayer(stream, 'workspace', limits(options));
  const tar = writeTar(entries, { encoding: 'latin1' });
  return await pushLayer(options.registry, options.repository, tar, { compression: 'none', signal: options.signal });
}

function limits(options: ExportOptions): { bytes: number; entries: number } {
  return { bytes: options.layerBytes, entries: ENTRIES };
}

async function launcher(): Promise<Buffer> {
  return await readFile(join(import.meta.dirname, '..', 'lifecycle', 'launcher'));
}

function* launchEntries(result: BuildResult, program: Buffer) {
  yield directoryEntry('cnb');
  yield directoryEntry('cnb/launch');
  const made = new Set<string>();
  for (const [name, content] of [...launchFiles(result)].sort(([left], [right]) => (left < right ? -1 : 1))) {
    const parts = name.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const directory = parts.slice(0, depth).join('/');
      if (made.has(directory)) continue;
      made.add(directory);
      yield directoryEntry(`cnb/launch/${directory}`);
    }
    yield fileEntry(`cnb/launch/${name}`, content);
  }
  yield fileEntry('cnb/launcher', program, 0o755);
  // Over the package's own layer, which is used as it is.
  if (!result.workspaceUnchanged || result.workspaceLinks.length === 0) return;
  yield directoryEntry('workspace', 1000);
  for (const { name, target } of [...result.workspaceLinks].sort((left, right) => (left.name < right.name ? -1 : 1)))
    yield { ...linkEntry(`workspace/${name}`, target), uid: 1000, gid: 1000 };
}
