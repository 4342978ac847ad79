/** Manifests (`manifest.yml`): found, read, with variables filled in and the flags of the command line laid over them. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CliError } from '../errors.ts';
import { readGivenFile } from '../given-file.ts';

export interface PushFlags {
  path?: string;
  instances?: number;
  memory?: string;
  disk?: string;
  buildpack?: string[];
  dockerfile?: string;
  builder?: string;
  command?: string;
  manifest?: string;
  dockerImage?: string;
  dockerUsername?: string;
  route?: boolean; // --no-route gives false
  randomRoute?: boolean;
  healthCheckType?: string;
  endpoint?: string;
  appStartTimeout?: number;
  var?: Record<string, string>;
  varsFile?: string[];
}

/** One application of a manifest, in Cloud Foundry's own words; fields that we do not know go to the platform as they are. */
export interface ManifestApp {
  name: string;
  path?: string;
  docker?: { image: string; username?: string };
  [field: string]: unknown;
}

const names = ['manifest.yml', 'manifest.yaml'];

/** The apps to push. `directory` is where relative paths of the manifest begin. */
export async function readManifest(
  name: string | undefined,
  flags: PushFlags,
  workingDirectory: string,
): Promise<{ apps: ManifestApp[] }> {
  const file = findManifest(flags, workingDirectory);
  const all = file ? await parseManifest(file, flags) : [];
  // One that cannot be read is a mistake, also where nothing asks for its values.
  if (!file && flags.varsFile) for (const path of flags.varsFile) readVariables(path, await import('yaml'));
  if (!file && !name)
    throw new CliError(
      'There is no app name and no manifest.',
      'Give a name, `sampan push NAME`, or write a manifest.yml.',
    );
  const chosen = name && all.length > 0 ? all.filter((app) => app.name === name) : all;
  const apps = name && chosen.length === 0 ? [all.length === 1 && all[0] ? { ...all[0], name } : { name }] : chosen;
  if (apps.length > 1 && hasAppFlags(flags))
    throw new CliError(
      'These flags belong to one app, and the manifest has several.',
      'Name the app: `sampan push NAME …`.',
    );
  return { apps: apps.map((app) => withFlags(app, flags, file ? dirname(file) : workingDirectory, workingDirectory)) };
}

function findManifest(flags: PushFlags, workingDirectory: string): string | undefined {
  if (flags.manifest) {
    const path = resolve(workingDirectory, flags.manifest);
    const file = statSync(path, { throwIfNoEntry: false })?.isDirectory()
      ? names.map((name) => join(path, name)).find((name) => existsSync(name))
      : path;
    if (!file || !existsSync(file))
      throw new CliError(`There is no manifest at ${path}.`, 'Give the path of a manifest with -f.');
    return file;
  }
  const places = flags.path ? [workingDirectory, resolve(workingDirectory, flags.path)] : [workingDirectory];
  return places.flatMap((place) => names.map((name) => join(place, name))).find((file) => existsSync(file));
}

async function parseManifest(file: string, flags: PushFlags): Promise<ManifestApp[]> {
  // Seventy modules, which a push without a manifest does not need.
  const yaml = await import('yaml');
  let document: unknown;
  try {
    const text = fillVariables(readFileSync(file, 'utf8'), { yaml, flags, file });
    document = yaml.parse(text, { merge: true, maxAliasCount: 100 });
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`Cannot read ${file}: ${(error as Error).message}.`, 'Correct the YAML at that place.', {
      cause: error,
    });
  }
  const applications = (document as { applications?: unknown } | null)?.applications;
  if (!Array.isArray(applications) || applications.length === 0)
    throw new CliError(`${file} has no applications.`, 'A manifest begins with `applications:` and a list of apps.');
  return applications.map((app: unknown, index) => {
    if (typeof app !== 'object' || app === null || typeof (app as ManifestApp).name !== 'string') {
      throw new CliError(`${file}: applications[${index}].name is missing.`, 'Give each application a name.');
    }
    return app as ManifestApp;
  });
}

function fillVariables(
  text: string,
  { yaml, flags, file }: { yaml: typeof import('yaml'); flags: PushFlags; file: string },
): string {
  const values: Record<string, unknown> = {};
  for (const path of flags.varsFile ?? []) Object.assign(values, readVariables(path, yaml));
  Object.assign(values, flags.var);
  return text.replaceAll(/\(\(([\w.-]+)\)\)/g, (_, name: string) => {
    if (!Object.hasOwn(values, name))
      throw new CliError(
        `${file} uses the variable ((${name})), which has no value.`,
        `Give it with --var ${name}=VALUE or in a --vars-file.`,
      );
    const value = values[name];
    return typeof value === 'string' ? value : yaml.stringify(value).trim();
  });
}

function readVariables(path: string, yaml: typeof import('yaml')): Record<string, unknown> {
  const remedy = 'Give YAML of names and values as --vars-file.';
  let values: unknown;
  try {
    values = yaml.parse(readGivenFile(path, remedy));
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`Cannot read ${path}: ${(error as Error).message}.`, remedy, { cause: error });
  }
  if (typeof values === 'object' && values !== null && !Array.isArray(values)) return values as Record<string, unknown>;
  throw new CliError(`${path} has no variables.`, remedy);
}

function hasAppFlags(flags: PushFlags): boolean {
  return [
    flags.path,
    flags.instances,
    flags.memory,
    flags.disk,
    flags.buildpack,
    flags.dockerfile,
    flags.builder,
    flags.command,
    flags.dockerImage,
    flags.dockerUsername,
    flags.healthCheckType,
    flags.endpoint,
    flags.appStartTimeout,
  ].some((flag) => flag !== undefined);
}

function withFlags(
  app: ManifestApp,
  flags: PushFlags,
  manifestDirectory: string,
  workingDirectory: string,
): ManifestApp {
  const set = (field: string, value: unknown): Record<string, unknown> =>
    value === undefined ? {} : { [field]: value };
  const path = flags.path ? resolve(workingDirectory, flags.path) : resolve(manifestDirectory, app.path ?? '.');
  return {
    ...app,
    path,
    ...set('instances', flags.instances),
    ...set('memory', flags.memory),
    ...set('disk_quota', flags.disk),
    ...set('buildpacks', flags.buildpack),
    ...(flags.dockerfile === undefined
      ? {}
      : { dockerfile: flags.dockerfile, buildpack: undefined, buildpacks: undefined }),
    ...(flags.builder === undefined
      ? {}
      : { buildpacks: [`docker://${flags.builder}`], buildpack: undefined, dockerfile: undefined }),
    ...(takesLogins(app, flags) ? set('cnb-credentials', registryLogins(process.env.CF_CNB_REGISTRY_CREDS)) : {}),
    ...set('command', flags.command),
    ...set('health-check-type', flags.healthCheckType),
    ...set('health-check-http-endpoint', flags.endpoint),
    ...set('timeout', flags.appStartTimeout),
    ...(flags.route === false ? { 'no-route': true, routes: undefined } : {}),
    ...set('random-route', flags.randomRoute),
    ...(flags.dockerImage
      ? { docker: { image: flags.dockerImage, ...(flags.dockerUsername ? { username: flags.dockerUsername } : {}) } }
      : {}),
    ...(needsDefaultRoute(app, flags) ? { 'default-route': true } : {}),
  };
}

/** What it is built of comes from registries that the app names. */
function takesLogins(app: ManifestApp, flags: PushFlags): boolean {
  return (flags.builder ?? flags.dockerfile ?? app['dockerfile']) !== undefined || app.lifecycle === 'cnb';
}

/** As `cf` reads it; what logins are is the platform's to say. */
function registryLogins(text: string | undefined): unknown {
  if (text === undefined || text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new CliError(
      'CF_CNB_REGISTRY_CREDS is no JSON.',
      'Write it as {"registry.example.com": {"username": "NAME", "password": "PASSWORD"}}.',
    );
  }
}

function needsDefaultRoute(app: ManifestApp, flags: PushFlags): boolean {
  return flags.route !== false && !flags.randomRoute && !app['no-route'] && !app.routes && !app['random-route'];
}

/** What is sent to the platform: everything but what only concerns this machine. JSON, which every reader of YAML reads. */
export function manifestText(app: ManifestApp): string {
  const { path: _path, ...rest } = app;
  return JSON.stringify({ applications: [rest] });
}
