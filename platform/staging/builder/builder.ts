/**
 * What every build starts from, `sampan/builder:<hash>`: stack, runtime, web server, lifecycle and buildpacks. The hash
 * covers all of it, so that a platform whose parts did not change finds its builder with one request.
 */
import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'smol-toml';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { nodeComponent } from '../buildpacks/nodejs/lib/component.ts';
import { directoryEntry, fileEntry, linkEntry, treeEntries } from '../images/entries.ts';
import { type ImageConfigFile, type Layer, ociArchitecture } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { writeImage } from '../images/single-layer.ts';
import type { OrderEntry } from '../lifecycle/buildpack.ts';
import type { Component } from '../lifecycle/protocol.ts';
import { offersOf } from '../runtimes/catalogue.ts';
import { hostSuite } from '../stack/apt-sources.ts';
import { recipeHash } from '../stack/recipe.ts';
import { ensureStack, type Stack, STACK_REPOSITORY, WEB_SERVER_REPOSITORY } from '../stack/stack.ts';
import { ensureRuntimeLayer, RUNTIME_REPOSITORY, runtimeTag } from './runtime-layer.ts';

export const BUILDER_REPOSITORY = 'sampan/builder';

export interface Seed {
  buildpack: string;
  name: string;
  /** TOML that the buildpack finds, as if the layer were one of its last build. */
  metadata: string;
  layer: Layer;
  components: Component[];
}

export interface Builder {
  hash: string;
  architecture: string;
  stack: Layer;
  /** What runtimes are made over. */
  base: Pick<Stack, 'recipe' | 'edition' | 'suite' | 'packages' | 'offers'>;
  /** `/cnb`: lifecycle, buildpacks and what they import. */
  lifecycle: Layer;
  /** Layers that the platform ships; a build that leaves one as it is uses the same blob in its droplet. */
  seeds: Seed[];
}

export interface BuilderOptions {
  registry: RegistryClient;
  temporaryDirectory: string;
  npm: { registry?: string; ca?: string };
  /** With a stack that is made anew. */
  edition?: string;
  onProgress?: (message: string) => void;
  signal?: AbortSignal;
}

const ROOT = join(import.meta.dirname, '..');
const LABEL = 'dev.sampan.builder';
/** Packages that the lifecycle imports; none has dependencies. */
const MODULES = ['semver', 'smol-toml', 'yaml'] as const;

export async function ensureBuilder(options: BuilderOptions): Promise<Builder> {
  const { registry, signal } = options;
  const architecture = ociArchitecture();
  const hash = await builderHash(architecture);
  const present = await registry.getImage<ImageConfigFile>(BUILDER_REPOSITORY, hash, signal);
  const label = present?.config.config.Labels?.[LABEL];
  if (label !== undefined && options.edition === undefined) return JSON.parse(label) as Builder;

  const [stack, runtime] = await Promise.all([ensureStack(options), ensureRuntimeLayer(options)]);
  options.onProgress?.('packing buildpacks');
  const lifecycle = await pushLayer(
    registry,
    BUILDER_REPOSITORY,
    writeTar(shippedEntries(stack)),
    signalOption(signal),
  );
  const seeds: Seed[] = [
    {
      buildpack: 'sampan/nodejs',
      name: `node-${process.versions.node}`,
      metadata: `[metadata]\nversion = "${process.versions.node}"\n`,
      layer: runtime,
      components: [nodeComponent(process.versions.node)],
    },
    {
      buildpack: 'sampan/staticfile',
      name: 'nginx',
      metadata: `[metadata]\nrecipe = "${stack.recipe}"\n`,
      layer: stack.webServer,
      components: [],
    },
  ];
  const { recipe, edition, suite, packages, offers } = stack;
  const base = { recipe, edition, suite, packages, offers };
  const builder: Builder = { hash, architecture, stack: stack.layer, base, lifecycle, seeds };
  await registry.shareLayer(BUILDER_REPOSITORY, stack.layer, STACK_REPOSITORY, signal);
  await registry.shareLayer(BUILDER_REPOSITORY, stack.webServer, WEB_SERVER_REPOSITORY, signal);
  await registry.shareLayer(BUILDER_REPOSITORY, runtime, RUNTIME_REPOSITORY, signal);
  const layers = [stack.layer, runtime, stack.webServer, lifecycle];
  const run = { User: '1000:1000', WorkingDir: '/workspace', Labels: { [LABEL]: JSON.stringify(builder) } };
  await writeImage(registry, BUILDER_REPOSITORY, hash, { architecture, layers, run, ...signalOption(signal) });
  await forgetOlder(registry, {
    [BUILDER_REPOSITORY]: hash,
    [STACK_REPOSITORY]: stack.recipe,
    [WEB_SERVER_REPOSITORY]: stack.recipe,
    [RUNTIME_REPOSITORY]: runtimeTag(),
  });
  return builder;
}

/** Apps hold the layers that they use by their own manifests. */
async function forgetOlder(registry: RegistryClient, current: Record<string, string>): Promise<void> {
  for (const [repository, keep] of Object.entries(current)) {
    for (const tag of await registry.tags(repository)) {
      if (tag !== keep) await registry.deleteManifest(repository, tag);
    }
  }
}

async function builderHash(architecture: string): Promise<string> {
  const hash = createHash('sha256')
    .update(await readFile(import.meta.filename))
    .update(await recipeHash(await hostSuite(), architecture))
    .update(runtimeTag());
  for await (const entry of lifecycleEntries()) {
    hash.update(JSON.stringify([entry.name, entry.type, entry.mode, entry.linkName ?? '']));
    if (entry.data instanceof Uint8Array) hash.update(entry.data);
    else for await (const chunk of entry.data ?? []) hash.update(chunk);
  }
  return hash.digest('hex').slice(0, 32);
}

async function* shippedEntries(stack: Stack): AsyncGenerator<TarInput> {
  yield* compiled(lifecycleEntries());
  yield fileEntry('cnb/runtimes.json', `${JSON.stringify(offersOf(stack.offers), undefined, 1)}\n`);
  yield directoryEntry('cnb/runtimes');
}

async function* lifecycleEntries(): AsyncGenerator<TarInput> {
  const shipped = (name: string) => !name.includes('.test.') && name !== 'testdata';
  yield directoryEntry('cnb');
  yield* treeEntries(join(ROOT, 'buildpacks'), 'cnb/buildpacks', shipped);
  yield* treeEntries(join(ROOT, 'lifecycle'), 'cnb/lifecycle', shipped);
  yield linkEntry('cnb/node', `/layers/sampan_nodejs/node-${process.versions.node}/bin/node`);
  yield directoryEntry('cnb/node_modules');
  const used = (name: string) => name !== 'browser' && !name.endsWith('.d.ts');
  for (const name of MODULES) yield* treeEntries(packageDirectory(name), `cnb/node_modules/${name}`, used);
  yield fileEntry('cnb/package.json', '{"type":"module"}\n');
}

/**
 * Our own TypeScript as JavaScript: types are taken out once here rather than at every start in a build pod, which saves
 * a tenth of a second for each program.
 */
async function* compiled(entries: AsyncIterable<TarInput>): AsyncGenerator<TarInput> {
  for await (const entry of entries) {
    const own = entry.type === 'file' && !entry.name.startsWith('cnb/node_modules/');
    if (!own || entry.data === undefined) {
      yield entry;
      continue;
    }
    const text = Buffer.concat(
      entry.data instanceof Uint8Array ? [entry.data] : await Array.fromAsync(entry.data),
    ).toString('utf8');
    if (entry.name.endsWith('.ts')) {
      const script = stripTypeScriptTypes(text).replaceAll(/(from |import\()'(\.[^']*)\.ts'/g, "$1'$2.js'");
      yield fileEntry(entry.name.replace(/\.ts$/, '.js'), script, entry.mode);
    } else {
      yield fileEntry(
        entry.name,
        /\/bin\/(detect|build)$/.test(entry.name) ? text.replaceAll('.ts"', '.js"') : text,
        entry.mode,
      );
    }
  }
}

function packageDirectory(name: string): string {
  let directory = dirname(fileURLToPath(import.meta.resolve(name)));
  while (!directory.endsWith(`node_modules/${name}`)) directory = dirname(directory);
  return directory;
}

export interface BuildpackInfo {
  id: string;
  version: string;
  name: string;
}

/** Groups in the order in which they are tried. */
export async function shippedOrder(): Promise<OrderEntry[][]> {
  const file = parse(await readFile(join(ROOT, 'buildpacks', 'order.toml'), 'utf8')) as unknown as {
    order: { group: OrderEntry[] }[];
  };
  return file.order.map(({ group }) => group);
}

/** In the order in which they are tried. */
export async function shippedBuildpacks(): Promise<BuildpackInfo[]> {
  const root = join(ROOT, 'buildpacks');
  const position = (await shippedOrder()).flatMap((group) => group.map(({ id }) => id));
  const found: BuildpackInfo[] = [];
  for (const entry of await readdir(root, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const file = parse(await readFile(join(root, entry.name, 'buildpack.toml'), 'utf8')) as Partial<
      Record<string, object>
    >;
    const { id, version, name } = file['buildpack'] as BuildpackInfo;
    found.push({ id, version, name });
  }
  return found.sort((left, right) => position.indexOf(left.id) - position.indexOf(right.id));
}

function signalOption(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
