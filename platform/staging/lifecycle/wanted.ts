/** Which buildpacks a build tries, and where they lie: `SAMPAN_BUILDPACKS` (`WantedBuildpacks`), or the order file. */
import { chmodSync, mkdtempSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { builderOrder } from './builder-order.ts';
import { type Buildpack, LifecycleError, type OrderEntry, readBuildpack, readBuildpacks } from './buildpack.ts';
import type { DetectOptions } from './detect.ts';
import { names } from './environment.ts';
import { exitCodes, type WantedBuildpack, type WantedBuildpacks } from './protocol.ts';
import { warning } from './words.ts';

/** Procfile is read in any case, as Cloud Foundry does. */
const PROCFILE = 'sampan/procfile';

export async function wanted(
  root: string,
  scratch: string,
): Promise<Pick<DetectOptions, 'buildpacks' | 'groups' | 'chosen'>> {
  if (process.env['SAMPAN_BUILDER'] === '1')
    return builderOrder(root, process.env['SAMPAN_ORDER'] ?? '/cnb/order.toml');
  const shipped = readBuildpacks(root);
  const said = saidWanted();
  if (said === undefined) {
    const file = parse(readFileSync(join(root, 'order.toml'), 'utf8')) as unknown as {
      order: { group: OrderEntry[] }[];
    };
    return { buildpacks: shipped, groups: file.order.map(({ group }) => group), chosen: false };
  }
  const { chosen, groups } = said;
  const buildpacks = new Map(shipped);
  const found: OrderEntry[][] = [];
  for (const group of groups) {
    try {
      found.push(await placedGroup(group, buildpacks, scratch));
    } catch (error) {
      if (chosen || !(error instanceof LifecycleError)) throw error;
      warning(error.message);
    }
  }
  return { buildpacks, groups: found, chosen };
}

export function saidWanted(): WantedBuildpacks | undefined {
  const said = process.env['SAMPAN_BUILDPACKS'];
  return said === undefined ? undefined : (JSON.parse(said) as WantedBuildpacks);
}

/** Puts those that the platform does not ship to the others, by a key of their own. */
async function placedGroup(
  group: readonly WantedBuildpack[],
  buildpacks: Map<string, Buildpack>,
  scratch: string,
): Promise<OrderEntry[]> {
  const entries: OrderEntry[] = [];
  const ids = new Set<string>();
  for (const entry of group) {
    const key = 'id' in entry ? entry.id : 'url' in entry ? entry.url : `${entry.directory}/`;
    const buildpack = buildpacks.get(key) ?? (await placed(entry, scratch));
    if (buildpack === undefined) throw new LifecycleError(exitCodes.notDetected, `there is no buildpack ${key}`);
    if (ids.has(buildpack.id))
      throw new LifecycleError(exitCodes.buildError, `two of the buildpacks have the id ${buildpack.id}: name one`);
    ids.add(buildpack.id);
    buildpacks.set(key, buildpack);
    entries.push(entry.optional === true ? { id: key, optional: true } : { id: key });
  }
  if (buildpacks.has(PROCFILE) && !ids.has(PROCFILE)) entries.push({ id: PROCFILE, optional: true });
  return entries;
}

async function placed(entry: WantedBuildpack, scratch: string): Promise<Buildpack | undefined> {
  if ('id' in entry) return undefined;
  if ('directory' in entry) {
    const uploaded = process.env['SAMPAN_UPLOADED_DIR'] ?? '/cnb/uploaded';
    return readBuildpack(join(uploaded, entry.directory), entry.name);
  }
  const { fetchBuildpack } = await import('./fetch-buildpack.ts');
  const directory = join(mkdtempSync(join(scratch, 'fetched-')), 'buildpack');
  await fetchBuildpack(entry.url, directory);
  const name = new URL(entry.url).pathname.split('/').findLast((part) => part !== '') ?? 'buildpack';
  const buildpack = readBuildpack(directory, name.replace(/\.(git|zip|tgz|tar\.gz)$/i, ''));
  // Archives that were made where there is no such right do not have it.
  for (const program of names(join(buildpack.directory, 'bin'))) {
    const path = join(buildpack.directory, 'bin', program);
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) chmodSync(path, 0o755);
  }
  return buildpack;
}
