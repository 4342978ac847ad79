/** The Node.js runtime and the package managers: versions chosen by range, fetched from npm, each a layer of its own. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import rsort from 'semver/functions/rsort.js';
import satisfies from 'semver/functions/satisfies.js';
import maxSatisfying from 'semver/ranges/max-satisfying.js';
import validRange from 'semver/ranges/valid.js';
import { RegistryError } from '../../../lifecycle/http-get.ts';
import { recallVersion, rememberVersion } from '../../../lifecycle/lookups.ts';
import { NpmRegistry, type PackageVersion } from '../../../lifecycle/npm-registry.ts';
import { declareLayer, writeBill } from '../../../lifecycle/program.ts';
import type { PackageJson } from './app.ts';
import { nodeComponent } from './component.ts';
import { LAUNCH_ENVIRONMENT } from './launch-environment.ts';
import { AppError, detail, warning } from '../../../lifecycle/words.ts';

export interface Runtime {
  version: string;
  /** Holds bin/node, bin/npm. */
  directory: string;
}

/** The layer `node-<version>`: restored, the platform's own, or fetched. */
export async function provideRuntime(
  layers: string,
  file: PackageJson | undefined,
  registry: NpmRegistry,
): Promise<Runtime> {
  const range = file?.engines?.['node'];
  if (range !== undefined && validRange(range) === null) {
    throw new AppError(
      `package.json: engines.node ${JSON.stringify(range)} is no version range: write one like "22.x" or ">=20"`,
    );
  }
  const restored = readdirSync(layers)
    .map((name) => /^node-(\d+\.\d+\.\d+)$/.exec(name)?.[1])
    .filter(
      (version) => version !== undefined && existsSync(join(layers, `node-${version}`, 'bin', 'node')),
    ) as string[];
  const recalled = recallVersion(layers, 'node', range ?? '');
  const known = recalled !== undefined && restored.includes(recalled);
  const chosen = known ? { version: recalled } : await chooseNode(range, restored, registry);
  if (!known && chosen.asked) rememberVersion(layers, 'node', { question: range ?? '', version: chosen.version });
  const name = `node-${chosen.version}`;
  const directory = join(layers, name);
  if (range === undefined) detail(`package.json names no engines.node: taking Node.js ${chosen.version}`);
  else detail(`engines.node ${range}: Node.js ${chosen.version}`);
  if (chosen.fetch !== undefined) {
    detail(`downloading Node.js ${chosen.version}`);
    rmSync(directory, { recursive: true, force: true });
    unpack(await registry.download(chosen.fetch), directory, ['package/bin', 'package/include', 'package/LICENSE']);
    await provideNpm(directory, chosen.version, layers, restored, registry);
    for (const [file, content] of Object.entries(LAUNCH_ENVIRONMENT)) {
      mkdirSync(join(directory, dirname(file)), { recursive: true });
      writeFileSync(join(directory, file), content);
    }
    writeBill(layers, name, [nodeComponent(chosen.version)]);
  }
  declareLayer(layers, name, { launch: true, build: true, cache: true }, { version: chosen.version });
  return { version: chosen.version, directory };
}

async function chooseNode(
  range: string | undefined,
  restored: readonly string[],
  registry: NpmRegistry,
): Promise<{ version: string; asked?: true; fetch?: PackageVersion }> {
  // An exact version that is here needs no registry.
  if (range !== undefined && restored.includes(range)) return { version: range };
  let published: PackageVersion[];
  try {
    published = (await registry.versions(`node-linux-${process.arch}`)).versions;
  } catch (error) {
    const fallback = range === undefined ? (rsort([...restored])[0] ?? null) : maxSatisfying([...restored], range);
    if (!(error instanceof RegistryError) || fallback === null) throw error;
    warning(`the npm registry did not answer (${error.message}): using Node.js ${fallback}`);
    return { version: fallback };
  }
  const versions = published.map(({ version }) => version);
  const version =
    range === undefined
      ? (rsort(versions.filter((each) => Number.parseInt(each, 10) % 2 === 0 && !each.includes('-')))[0] ?? null)
      : maxSatisfying(versions, range);
  if (version === null) {
    throw new AppError(`package.json: engines.node ${JSON.stringify(range)} matches no published Node.js version`);
  }
  if (restored.includes(version)) return { version, asked: true };
  const fetch = published.find((each) => each.version === version);
  return fetch === undefined ? { version, asked: true } : { version, asked: true, fetch };
}

/** Puts an npm that runs on this Node beside it: the platform's where that is one, else the newest that fits. */
async function provideNpm(
  directory: string,
  node: string,
  layers: string,
  restored: readonly string[],
  registry: NpmRegistry,
): Promise<void> {
  const modules = join(directory, 'lib', 'node_modules');
  mkdirSync(modules, { recursive: true });
  const own = restored.map((version) => join(layers, `node-${version}`, 'lib', 'node_modules', 'npm')).find(existsSync);
  if (own !== undefined && satisfies(node, '^20.17.0 || >=22.9.0')) {
    cpSync(own, join(modules, 'npm'), { recursive: true, verbatimSymlinks: true });
  } else {
    const { versions } = await registry.versions('npm');
    const newest = rsort(
      versions
        .filter(({ version, engines }) => !version.includes('-') && satisfies(node, engines['node'] ?? '*'))
        .map(({ version }) => version),
    )[0];
    const wanted = versions.find(({ version }) => version === newest);
    if (wanted === undefined) throw new AppError(`no npm runs on Node.js ${node}: choose a newer engines.node`);
    unpack(await registry.download(wanted), join(modules, 'npm'));
  }
  linkNpm(directory);
}

export function linkNpm(directory: string): void {
  for (const name of ['npm', 'npx']) {
    const path = join(directory, 'bin', name);
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) {
      symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, path);
    }
    chmodSync(join(directory, 'lib', 'node_modules', 'npm', 'bin', `${name}-cli.js`), 0o755);
  }
}

/** The layer `<name>-<version>` with a package manager; only for the build. */
export async function provideManager(
  layers: string,
  wanted: { package: string; layer: string; range: string; node: string },
  registry: NpmRegistry,
): Promise<{ version: string; directory: string }> {
  const pattern = new RegExp(`^${wanted.layer}-(\\d+\\.\\d+\\.\\d+)$`);
  const restored = readdirSync(layers)
    .map((name) => pattern.exec(name)?.[1])
    .filter(
      (version) => version !== undefined && existsSync(join(layers, `${wanted.layer}-${version}`, 'package.json')),
    ) as string[];
  let version = maxSatisfying(restored, wanted.range);
  if (version === null) {
    const { versions } = await registry.versions(wanted.package);
    const fitting = versions.filter(({ engines }) => satisfies(wanted.node, engines['node'] ?? '*'));
    version = maxSatisfying(
      fitting.map((each) => each.version),
      wanted.range,
    );
    const found = fitting.find((each) => each.version === version);
    if (version === null || found === undefined) {
      throw new AppError(`no ${wanted.package} ${wanted.range} runs on Node.js ${wanted.node}`);
    }
    detail(`downloading ${wanted.package} ${version}`);
    unpack(await registry.download(found), join(layers, `${wanted.layer}-${version}`));
  }
  const name = `${wanted.layer}-${version}`;
  declareLayer(layers, name, { cache: true }, { version });
  return { version, directory: join(layers, name) };
}

/** npm packages have one directory at their root, mostly `package`. */
function unpack(archive: Buffer, directory: string, only: string[] = []): void {
  mkdirSync(directory, { recursive: true });
  execFileSync('tar', ['-xz', '--strip-components=1', '--no-same-owner', '-C', directory, ...only], {
    input: archive,
    stdio: ['pipe', 'inherit', 'inherit'],
  });
}
