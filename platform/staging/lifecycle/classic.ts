/**
 * Cloud Foundry's own buildpacks (its documentation, "Understanding buildpacks"; `bin/detect`, `bin/supply`,
 * `bin/finalize` or `bin/compile`, `bin/release`), run so that what they leave looks like a Cloud Native Buildpack's.
 *
 * Of several, each but the last only supplies, into its own numbered directory of the dependencies; the last one finishes
 * the app. The dependencies are a layer of the last one and have the same path when the app runs (`DEPS_DIR`); its cache
 * directory is a cached layer. The app stays where it is, in the workspace, and that is `HOME` of the processes.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'smol-toml';
import { type Buildpack, layersName, runProgram } from './buildpack.ts';
import { unchangedSince } from './changes.ts';
import type { Detected } from './detect.ts';
import { text } from './environment.ts';

export interface ClassicOptions {
  buildpack: Buildpack;
  /** The whole group: others of it share the dependencies. */
  group: readonly Detected[];
  workspace: string;
  /** Of all buildpacks. */
  layers: string;
  /** A file that was made before anything ran. */
  marker: string;
  environment: Record<string, string | undefined>;
}

/** Resolves with the exit code of the program that failed, or 0. */
export async function buildClassic(options: ClassicOptions): Promise<number> {
  const { buildpack, workspace } = options;
  const members = options.group.map((entry) => entry.buildpack).filter(({ kind }) => kind === 'classic');
  const last = members.at(-1) ?? buildpack;
  const own = join(options.layers, layersName(last.id));
  const deps = join(own, 'deps');
  const index = String(members.indexOf(buildpack));
  const cache = join(own, 'cache');
  const profile = join(deps, 'profile.d');
  for (const directory of [join(deps, index), cache, profile]) mkdirSync(directory, { recursive: true });
  const environment = {
    CF_STACK: 'sampan',
    ...options.environment,
    DEPS_DIR: deps,
    DEPS_IDX: index,
    BUILDPACK_DIR: buildpack.directory,
  };
  const run = (name: string, ...args: string[]) =>
    runProgram(join(buildpack.directory, 'bin', name), { args, workingDirectory: workspace, environment });
  const has = (name: string) => existsSync(join(buildpack.directory, 'bin', name));

  const supplies = has('supply');
  const compiles = buildpack === last && !has('finalize') && has('compile');
  if (supplies && !(compiles && members.length === 1)) {
    const { code } = await run('supply', workspace, cache, deps, index);
    if (code !== 0) return code;
  }
  if (buildpack !== last) return 0;
  const finished = compiles
    ? await run('compile', workspace, cache)
    : has('finalize')
      ? await run('finalize', workspace, cache, deps, index, profile)
      : { code: 0 };
  if (finished.code !== 0) return finished.code;
  leaveLayers({ own, deps, cache, marker: options.marker, workspace });
  return has('release') ? await release(options, own, environment) : 0;
}

function leaveLayers(left: { own: string; deps: string; cache: string; marker: string; workspace: string }): void {
  const { own, deps, cache, marker, workspace } = left;
  const launch = join(deps, 'env.launch');
  mkdirSync(launch, { recursive: true });
  writeFileSync(join(launch, 'HOME'), workspace);
  writeFileSync(join(launch, 'DEPS_DIR'), deps);
  writeFileSync(join(own, 'deps.toml'), stringify({ types: { launch: true } }));
  if (readdirSync(cache).length === 0) return;
  // A cache counts as changed when its metadata do.
  const before = text(join(own, 'cache.toml'));
  const metadata =
    before !== '' && unchangedSince(cache, marker)
      ? before
      : stringify({ metadata: { made: new Date().toISOString() } });
  writeFileSync(join(own, 'cache.toml'), `${metadata}\n[types]\ncache = true\n`);
}

/** `bin/release` prints YAML; `default_process_types` is what of it counts. */
async function release(
  { buildpack, workspace }: ClassicOptions,
  own: string,
  environment: Record<string, string | undefined>,
): Promise<number> {
  const { code, output, stdout } = await runProgram(join(buildpack.directory, 'bin', 'release'), {
    args: [workspace],
    workingDirectory: workspace,
    environment,
    quiet: true,
  });
  if (code !== 0) {
    process.stdout.write(`${output.trimEnd()}\n`);
    return code;
  }
  const { parse } = await import('yaml');
  const said = parse(stdout, { maxAliasCount: 10 }) as { default_process_types?: Record<string, unknown> } | null;
  const processes = Object.entries(said?.default_process_types ?? {})
    .filter(([type, command]) => /^[A-Za-z0-9_-]{1,63}$/.test(type) && typeof command === 'string')
    .map(([type, command]) => ({ type, command: ['bash', '-c', String(command)] }));
  writeFileSync(join(own, 'launch.toml'), stringify({ processes }));
  return 0;
}
