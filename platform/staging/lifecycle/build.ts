/** Runs the buildpacks of the group and describes what they left (buildpack specification, "Phase #3: Build"). */
import { lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import { unchangedSince } from './changes.ts';
import { buildClassic } from './classic.ts';
import { componentsOf, nodePackages } from './components.ts';
import { type Buildpack, diskIsFull, layersName, LifecycleError, runProgram } from './buildpack.ts';
import type { Detected } from './detect.ts';
import { ASKED_RUNTIMES, askedRuntimes, isMounted } from './runtimes.ts';
import { applyEnvironment, isDirectory, layerEnvironment, names, text } from './environment.ts';
import { type BuildResult, exitCodes, type ResultBuildpack, type ResultLayer, type ResultProcess } from './protocol.ts';

export interface BuildOptions {
  group: Detected[];
  workspace: string;
  layers: string;
  platform: string;
  scratch: string;
  environment: (buildpack: Buildpack) => Record<string, string | undefined>;
}

interface LayerFile {
  types?: { launch?: boolean; build?: boolean; cache?: boolean };
  metadata?: Record<string, unknown>;
}

interface LaunchFile {
  processes?: {
    type: string;
    command: string[] | string;
    /** Of API 0.8 and older: without a shell. */
    direct?: boolean;
    args?: string[];
    default?: boolean;
    'working-dir'?: string;
  }[];
  labels?: { key: string; value: string }[];
}

export async function build(options: BuildOptions): Promise<BuildResult> {
  const marker = join(options.scratch, 'started');
  writeFileSync(marker, '');
  const before = new Set(names(options.workspace));
  const result: BuildResult = {
    runtimes: [],
    buildpacks: [],
    processes: [],
    workspaceUnchanged: false,
    workspaceLinks: [],
    labels: [],
  };
  /** What earlier buildpacks give to later ones. */
  const inherited: string[] = [];
  for (const { buildpack, plan } of options.group) {
    const layers = join(options.layers, layersName(buildpack.id));
    const scratch = join(options.scratch, layersName(buildpack.id));
    mkdirSync(layers, { recursive: true });
    mkdirSync(scratch, { recursive: true });
    const planPath = join(scratch, 'plan.toml');
    writeFileSync(planPath, stringify({ entries: plan }));
    const restored = restoredMetadata(layers);
    const environment = options.environment(buildpack);
    for (const layer of inherited) applyEnvironment(environment, layerEnvironment(layer, 'build'));
    const code =
      buildpack.kind === 'classic'
        ? await buildClassic({ ...options, buildpack, marker, environment })
        : (await runBuild(buildpack, { ...options, layers, planPath, environment })).code;
    if (code !== 0) {
      const asked = askedRuntimes(layers);
      if (!asked.every(isMounted)) return { ...result, runtimes: asked, buildpacks: [], processes: [], labels: [] };
      if (diskIsFull(options.workspace)) throw new LifecycleError(exitCodes.diskFull, 'the build filled its disk');
      throw new LifecycleError(exitCodes.buildError, `buildpack ${buildpack.id} ended with ${code}`);
    }
    result.runtimes.push(...askedRuntimes(layers));
    const done = describe(buildpack, layers, restored, marker);
    for (const layer of done.layers) if (layer.build) inherited.push(join(layers, layer.name));
    const launch = parse(text(join(layers, 'launch.toml'))) as LaunchFile;
    result.buildpacks.push(done);
    result.processes.push(...(launch.processes ?? []).map(processOf));
    result.labels.push(...(launch.labels ?? []));
  }
  return { ...result, ...workspaceChanges(options.workspace, before, marker) };
}

function runBuild(
  buildpack: Buildpack,
  options: {
    layers: string;
    workspace: string;
    platform: string;
    planPath: string;
    environment: Record<string, string | undefined>;
  },
): Promise<{ code: number }> {
  return runProgram(join(buildpack.directory, 'bin', 'build'), {
    args: [options.layers, options.platform, options.planPath],
    workingDirectory: options.workspace,
    environment: {
      ...options.environment,
      CNB_BUILDPACK_DIR: buildpack.directory,
      CNB_PLATFORM_DIR: options.platform,
      CNB_LAYERS_DIR: options.layers,
      CNB_BP_PLAN_PATH: options.planPath,
    },
  });
}

/** A link at the top, as to the dependencies' layer, is told apart: for it alone the app need not be stored again. */
function workspaceChanges(
  workspace: string,
  before: ReadonlySet<string>,
  marker: string,
): Pick<BuildResult, 'workspaceUnchanged' | 'workspaceLinks'> {
  const now = names(workspace);
  const links: BuildResult['workspaceLinks'] = [];
  for (const name of now) {
    if (before.has(name)) continue;
    const path = join(workspace, name);
    const plain = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name) && lstatSync(path).isSymbolicLink();
    if (plain) links.push({ name, target: readlinkSync(path) });
  }
  const unchanged =
    now.length === before.size + links.length &&
    links.length <= 20 &&
    unchangedSince(
      workspace,
      marker,
      links.map(({ name }) => name),
    );
  return { workspaceUnchanged: unchanged, workspaceLinks: unchanged ? links : [] };
}

/** Layer metadata as they were restored; types are never restored, so that a buildpack must state them each time. */
function restoredMetadata(layers: string): Map<string, string> {
  const restored = new Map<string, string>();
  for (const file of layerFiles(layers)) restored.set(file.slice(0, -5), readFileSync(join(layers, file), 'utf8'));
  return restored;
}

function describe(
  buildpack: Buildpack,
  layers: string,
  restored: ReadonlyMap<string, string>,
  marker: string,
): ResultBuildpack {
  const described: ResultLayer[] = [];
  for (const file of layerFiles(layers)) {
    const name = file.slice(0, -5);
    const { types, metadata } = parse(readFileSync(join(layers, file), 'utf8')) as LayerFile;
    const launch = types?.launch ?? false;
    const cache = types?.cache ?? false;
    if (!launch && !cache && types?.build !== true) continue;
    const directory = join(layers, name);
    const metadataText = stringify({ metadata: metadata ?? {} });
    const before = restored.get(name);
    const content = contentState({ directory, marker, launch, before, now: metadataText });
    if (content === undefined) continue;
    const inLaunch = launch && content !== 'absent';
    const components =
      launch && content === 'changed'
        ? [...(componentsOf(join(layers, `${name}.sbom.cdx.json`)) ?? []), ...nodePackages(directory)]
        : [];
    described.push({
      name,
      launch,
      cache,
      build: types?.build ?? false,
      metadata: metadataText,
      content,
      environment: inLaunch ? layerEnvironment(directory, 'launch') : [],
      profile: inLaunch ? files(join(directory, 'profile.d')) : [],
      execD: inLaunch ? files(join(directory, 'exec.d')) : [],
      ...(components.length === 0 ? {} : { components }),
    });
  }
  const store = text(join(layers, 'store.toml'));
  const { id, version } = buildpack;
  const components = componentsOf(join(layers, 'launch.sbom.cdx.json'));
  return {
    id,
    version,
    layers: described,
    ...(store === '' ? {} : { store }),
    ...(components === undefined ? {} : { components }),
  };
}

function contentState(layer: {
  directory: string;
  marker: string;
  launch: boolean;
  before: string | undefined;
  now: string;
}): ResultLayer['content'] | undefined {
  const sameMetadata = layer.before !== undefined && normal(layer.before) === normal(layer.now);
  if (!isDirectory(layer.directory)) return layer.launch && sameMetadata ? 'absent' : undefined;
  if (layer.before === undefined) return 'changed';
  // A cache is what its metadata say; what will be launched must be the very files.
  if (!layer.launch) return sameMetadata ? 'kept' : 'changed';
  return unchangedSince(layer.directory, layer.marker) ? 'kept' : 'changed';
}

function normal(metadata: string): string {
  return JSON.stringify((parse(metadata) as LayerFile).metadata ?? {});
}

function layerFiles(layers: string): string[] {
  const other = new Set(['launch.toml', 'build.toml', 'store.toml', ASKED_RUNTIMES]);
  return names(layers).filter((name) => name.endsWith('.toml') && !other.has(name));
}

function files(directory: string): string[] {
  const found: string[] = [];
  for (const name of names(directory)) {
    const path = join(directory, name);
    if (!isDirectory(path)) found.push(path);
  }
  return found;
}

function processOf(process: NonNullable<LaunchFile['processes']>[number]): ResultProcess {
  const { direct = false } = process;
  const line = typeof process.command === 'string' && !direct;
  const command = typeof process.command !== 'string' ? process.command : line ? shellLine(process) : [process.command];
  return {
    type: process.type,
    command,
    args: line ? [] : (process.args ?? []),
    default: process.default ?? false,
    ...(process['working-dir'] === undefined ? {} : { workingDirectory: process['working-dir'] }),
  };
}

/** Arguments of a command line are words for the same shell. */
function shellLine({ command, args = [] }: { command: string[] | string; args?: string[] }): string[] {
  const words = args.map((word) => ` '${word.replaceAll("'", `'\\''`)}'`).join('');
  return ['bash', '-c', `${String(command)}${words}`];
}
