/**
 * The base stack in the registry: `sampan/stack:<recipe hash>`, and beside it the web server that the staticfile
 * buildpack starts, `sampan/web-server:<recipe hash>`. Both come from one run of mmdebstrap, and are made once, and again when
 * an administrator asks for the packages that there are by then: another edition, under the same tag.
 */
import { writeTar } from '#lib/tar/write.ts';
import { directoryEntry, fileEntry } from '../images/entries.ts';
import { ociArchitecture, type Layer } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { readSingleLayer, writeImage } from '../images/single-layer.ts';
import { StagingError } from '../staging.ts';
import { hostSuite } from './apt-sources.ts';
import { mmdebstrap } from './mmdebstrap.ts';
import { stackEntries, type StackNotes } from './normalise.ts';
import { LEFT_OUT, OFFERED, PACKAGES, recipeHash, STACK_ID, STACK_NAME, WEB_SERVER_PACKAGES } from './recipe.ts';

export interface Stack {
  /** The tag. */
  recipe: string;
  suite: string;
  layer: Layer;
  /** Holds `/layers/sampan_staticfile/nginx`. */
  webServer: Layer;
  /** Those that are in it: version by name. */
  packages: Record<string, string>;
  /** Versions of the release's packages that runtimes are made from, by name. */
  offers: Record<string, string>;
  /** When it was made anew; empty for the first of its recipe. */
  edition: string;
}

export interface StackOptions {
  registry: RegistryClient;
  temporaryDirectory: string;
  /** Makes it anew, whatever there is. */
  edition?: string;
  onProgress?: (message: string) => void;
  signal?: AbortSignal;
}

export const STACK_REPOSITORY = 'sampan/stack';
export const WEB_SERVER_REPOSITORY = 'sampan/web-server';
const PACKAGES_LABEL = 'dev.sampan.stack.packages';
const OFFERS_LABEL = 'dev.sampan.stack.offers';
const EDITION_LABEL = 'dev.sampan.stack.edition';

export async function ensureStack(options: StackOptions): Promise<Stack> {
  const { registry } = options;
  const suite = await hostSuite();
  const architecture = ociArchitecture();
  const recipe = await recipeHash(suite, architecture);
  const [stack, webServer] = await Promise.all([
    readSingleLayer(registry, STACK_REPOSITORY, recipe),
    readSingleLayer(registry, WEB_SERVER_REPOSITORY, recipe),
  ]);
  if (options.edition === undefined && stack !== undefined && webServer !== undefined) {
    const labelled = (name: string) => JSON.parse(stack.labels[name] ?? '{}') as Record<string, string>;
    const [packages, offers] = [labelled(PACKAGES_LABEL), labelled(OFFERS_LABEL)];
    const edition = stack.labels[EDITION_LABEL] ?? '';
    return { recipe, suite, layer: stack.layer, webServer: webServer.layer, packages, offers, edition };
  }
  options.onProgress?.(`building the base stack from ${suite} packages`);
  return await build(options, { suite, architecture, recipe });
}

async function build(
  options: StackOptions,
  { suite, architecture, recipe }: { suite: string; architecture: string; recipe: string },
): Promise<Stack> {
  const { registry, temporaryDirectory, edition = '' } = options;
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  const notes: StackNotes = { status: '', offers: '', webServer: new Map() };
  const contents = { packages: PACKAGES, leftOut: LEFT_OUT, webServer: WEB_SERVER_PACKAGES, offered: OFFERED };
  const archive = mmdebstrap({ action: 'build base stack', suite, ...contents, temporaryDirectory, ...signal });
  const entries = stackEntries(archive, notes);
  const layer = await pushLayer(registry, STACK_REPOSITORY, writeTar(entries, { encoding: 'latin1' }), signal);
  const webServer = await pushLayer(registry, WEB_SERVER_REPOSITORY, writeTar(webServerEntries(notes)), signal);
  const packages = packageVersions(notes.status);
  const offers: Record<string, string> = {};
  for (const [name = '', version = ''] of notes.offers.split('\n').map((line) => line.split(' ')))
    if (name !== '') offers[name] = version;
  const run = {
    User: '1000:1000',
    Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    Labels: {
      'io.buildpacks.stack.id': STACK_ID,
      'org.opencontainers.image.title': STACK_NAME,
      'org.opencontainers.image.base.name': `debian:${suite}`,
      'dev.sampan.stack.recipe': recipe,
      [PACKAGES_LABEL]: JSON.stringify(packages),
      [OFFERS_LABEL]: JSON.stringify(offers),
      [EDITION_LABEL]: edition,
    },
  };
  await writeImage(registry, WEB_SERVER_REPOSITORY, recipe, { architecture, layers: [webServer], run: {}, ...signal });
  // Last: its presence says that both are there.
  await writeImage(registry, STACK_REPOSITORY, recipe, { architecture, layers: [layer], run, ...signal });
  return { recipe, suite, layer, webServer, packages, offers, edition };
}

function* webServerEntries(notes: StackNotes) {
  const nginx = notes.webServer.get('nginx');
  const mimeTypes = notes.webServer.get('mime.types');
  if (nginx === undefined || mimeTypes === undefined) {
    throw new StagingError('internal', 'build base stack: the nginx package has no usr/sbin/nginx');
  }
  yield directoryEntry('layers', 1000);
  yield directoryEntry('layers/sampan_staticfile', 1000);
  const root = 'layers/sampan_staticfile/nginx';
  yield directoryEntry(root);
  yield directoryEntry(`${root}/bin`);
  yield fileEntry(`${root}/bin/nginx`, nginx, 0o755);
  yield directoryEntry(`${root}/licences`);
  for (const [name, content] of [...notes.webServer].sort()) {
    if (name.startsWith('licences/')) yield fileEntry(`${root}/${name}`, content);
  }
  yield fileEntry(`${root}/mime.types`, mimeTypes);
}

export function packageVersions(status: string): Record<string, string> {
  const versions: Record<string, string> = {};
  for (const stanza of status.split('\n\n')) {
    const name = /^Package: (.+)$/m.exec(stanza)?.[1];
    const version = /^Version: (.+)$/m.exec(stanza)?.[1];
    if (name !== undefined && version !== undefined) versions[name] = version;
  }
  return versions;
}
