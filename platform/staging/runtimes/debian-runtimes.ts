/** Makes runtimes with mmdebstrap, and keeps them in the registry: `sampan/runtimes:<name>-<hash>`. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTar } from '#lib/tar/write.ts';
import type { TarInput } from '#lib/tar/write.ts';
import { directoryEntry, fileEntry, linkEntry } from '../images/entries.ts';
import { type ImageConfigFile, type Layer, ociArchitecture } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { writeImage } from '../images/single-layer.ts';
import { mmdebstrap } from '../stack/mmdebstrap.ts';
import { overlayEntries, type StackNotes } from '../stack/normalise.ts';
import { LEFT_OUT } from '../stack/recipe.ts';
import { packageVersions, type Stack } from '../stack/stack.ts';
import { StagingError } from '../staging.ts';
import { type NamedRecipe, offersOf, recipeOf } from './catalogue.ts';
import { type Runtime, type Runtimes, RUNTIMES_REPOSITORY } from './runtimes.ts';

export interface DebianRuntimesOptions {
  registry: RegistryClient;
  temporaryDirectory: string;
  /** What the layers go over, and what the release offers. */
  stack: () => Promise<Pick<Stack, 'recipe' | 'edition' | 'suite' | 'packages' | 'offers'>>;
  signal?: AbortSignal;
}

const LABEL = 'dev.sampan.runtime';

export function createDebianRuntimes(options: DebianRuntimesOptions): Runtimes {
  const making = new Map<string, Promise<Runtime>>();

  type Base = Awaited<ReturnType<typeof options.stack>>;

  const provideOne = async (name: string, stack: Base, onProgress: (message: string) => void): Promise<Runtime> => {
    const recipe = recipeOf(name, offersOf(stack.offers));
    if (recipe === undefined) {
      throw new StagingError('build-failed', `the build asks for a runtime ${name.slice(0, 100)}, which there is not`);
    }
    const below = recipe.over === undefined ? [] : packagesOf(await provideOnce(recipe.over, stack, onProgress));
    const maker: Maker = {
      ...options,
      suite: stack.suite,
      recipe,
      below: [...Object.keys(stack.packages), ...below],
      onProgress,
    };
    return await ensure(maker, `${name}-${await contentHash(stack)}`);
  };

  /** A failure is tried again by whoever asks next. */
  const provideOnce = (name: string, stack: Base, onProgress: (message: string) => void): Promise<Runtime> => {
    const key = `${name} ${stack.recipe} ${stack.edition}`;
    const known = making.get(key);
    if (known !== undefined) return known;
    const made = provideOne(name, stack, onProgress).catch((error: unknown) => {
      making.delete(key);
      throw error;
    });
    making.set(key, made);
    return made;
  };

  return {
    async provide(names, onProgress) {
      const stack = await options.stack();
      const runtimes: Runtime[] = [];
      for (const name of names) runtimes.push(await provideOnce(name, stack, onProgress));
      return runtimes;
    },
    async made() {
      const tags = await options.registry.tags(RUNTIMES_REPOSITORY, options.signal);
      return [...new Set(tags.map(nameOfTag))];
    },
  };
}

interface Maker {
  registry: RegistryClient;
  temporaryDirectory: string;
  suite: string;
  recipe: NamedRecipe;
  /** Packages of the layers below. */
  below: string[];
  onProgress: (message: string) => void;
  signal?: AbortSignal;
}

async function ensure(maker: Maker, tag: string): Promise<Runtime> {
  const { registry, recipe } = maker;
  const present = await registry.getImage<ImageConfigFile>(RUNTIMES_REPOSITORY, tag, maker.signal);
  const label = present?.config.config.Labels?.[LABEL];
  if (label !== undefined) return JSON.parse(label) as Runtime;

  maker.onProgress(`making the runtime ${recipe.name} from ${maker.suite} packages, once`);
  const launch = recipe.launch.length === 0 ? undefined : await makeLayer(maker, 'launch', []);
  const launched = Object.keys(launch?.packages ?? {});
  const build = recipe.build.length === 0 ? undefined : await makeLayer(maker, 'build', launched);
  const made: Runtime = {
    name: recipe.name,
    ...(launch === undefined ? {} : { launch: launch.layer }),
    ...(build === undefined ? {} : { build: build.layer }),
    packages: { launch: launch?.packages ?? {}, build: build?.packages ?? {} },
  };
  const layers = [launch, build].flatMap((each) => (each === undefined ? [] : [each.layer]));
  const signal = maker.signal === undefined ? {} : { signal: maker.signal };
  const image = { architecture: ociArchitecture(), layers, run: { Labels: { [LABEL]: JSON.stringify(made) } } };
  await writeImage(registry, RUNTIMES_REPOSITORY, tag, { ...image, ...signal });
  await forgetOlder(registry, recipe.name, tag);
  return made;
}

function nameOfTag(tag: string): string {
  return tag.replace(/-[0-9a-f]+$/, '');
}

/** Apps hold the layers that they use by their own manifests. */
async function forgetOlder(registry: RegistryClient, name: string, keep: string): Promise<void> {
  for (const tag of await registry.tags(RUNTIMES_REPOSITORY)) {
    if (tag !== keep && nameOfTag(tag) === name) await registry.deleteManifest(RUNTIMES_REPOSITORY, tag);
  }
}

async function makeLayer(
  maker: Maker,
  kind: 'launch' | 'build',
  launched: readonly string[],
): Promise<{ layer: Layer; packages: Record<string, string> }> {
  const { recipe, suite, temporaryDirectory } = maker;
  const signal = maker.signal === undefined ? {} : { signal: maker.signal };
  const notes: StackNotes = { status: '', offers: '', webServer: new Map() };
  const archive = mmdebstrap({
    action: `make the runtime ${recipe.name}`,
    suite,
    packages: recipe[kind],
    leftOut: [...LEFT_OUT, ...recipe.leftOut, ...maker.below, ...launched],
    hooks: kind === 'launch' ? recipe.hooks.map((name) => join(import.meta.dirname, name)) : [],
    temporaryDirectory,
    ...signal,
  });
  const entries = layerEntries(overlayEntries(archive, notes), notes, recipe, kind);
  const layer = await pushLayer(maker.registry, RUNTIMES_REPOSITORY, writeTar(entries, { encoding: 'latin1' }), signal);
  return { layer, packages: packageVersions(notes.status) };
}

async function* layerEntries(
  packages: AsyncIterable<TarInput>,
  notes: StackNotes,
  recipe: NamedRecipe,
  kind: 'launch' | 'build',
): AsyncGenerator<TarInput> {
  yield* packages;
  // Links come with what is mounted in any case, and so does the record that says that it is.
  if ((kind === 'launch') === recipe.launch.length > 0) {
    for (const [path, target] of Object.entries(recipe.links).sort()) yield linkEntry(path, target);
    for (const [path, script] of Object.entries(recipe.scripts).sort())
      yield fileEntry(path, await readFile(join(import.meta.dirname, script)), 0o755);
    yield directoryEntry('cnb');
    yield directoryEntry('cnb/runtimes');
    yield fileEntry(`cnb/runtimes/${recipe.name}`, `${JSON.stringify(packageVersions(notes.status))}\n`);
  }
  for (const name of ['var', 'var/lib', 'var/lib/dpkg', 'var/lib/dpkg/status.d']) yield directoryEntry(name);
  yield fileEntry(`var/lib/dpkg/status.d/${recipe.name}${kind === 'launch' ? '' : '.build'}`, notes.status);
}

function packagesOf({ packages }: Runtime): string[] {
  return [...Object.keys(packages.launch), ...Object.keys(packages.build)];
}

/** What a hook imports from elsewhere. */
const IMPORTED = '../lifecycle/java-trust-store.ts';

/** Covers what goes over what, and how: this folder and the stack's. */
async function contentHash({ recipe, edition }: { recipe: string; edition: string }): Promise<string> {
  const hash = createHash('sha256').update(recipe).update(edition);
  const names = (await readdir(import.meta.dirname)).filter((name) => !name.includes('.test.')).sort();
  for (const name of [...names, IMPORTED]) hash.update(name).update(await readFile(join(import.meta.dirname, name)));
  return hash.digest('hex').slice(0, 32);
}
