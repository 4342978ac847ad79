/**
 * Go's toolchains are modules, `golang.org/toolchain`, which module proxies have. One of them is pinned here by its hash; it
 * fetches the others as `go` itself would, checked against Go's checksum database (Go Toolchains, "Downloading").
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { RegistryError } from '../../../lifecycle/http-get.ts';
import { recallVersion, rememberVersion } from '../../../lifecycle/lookups.ts';
import { declareLayer, runCommand } from '../../../lifecycle/program.ts';
import { AppError, detail, warning } from '../../../lifecycle/words.ts';
import { moduleHash } from './module-hash.ts';
import { downloadToolchain, explained, isPublished, publishedToolchains, toolchainVersion } from './module-proxy.ts';
import { type AskedGo, chooseGo, refusal } from './version.ts';

export interface Bootstrap {
  version: string;
  /** By processor, as go.sum has them. */
  hashes: Readonly<Record<string, string>>;
}

const BOOTSTRAP: Bootstrap = {
  version: '1.27.4',
  hashes: {
    x64: 'h1:8Tl0rBb7KdISSdPkZBjlpZxsUBb+004GI/SM2XbmSqI=',
    arm64: 'h1:vCmfNA8b+T0RfElhx3mNdgu1UrIuyzZCgTrRiUWLnOI=',
  },
};

export interface Toolchain {
  version: string;
  /** GOROOT. */
  directory: string;
}

/** The layer `go-<version>`, restored or fetched; only for builds. */
export async function provideToolchain(
  layers: string,
  asked: AskedGo | undefined,
  bootstrap = BOOTSTRAP,
): Promise<Toolchain> {
  const version = asked === undefined ? bootstrap.version : await resolveVersion(layers, asked);
  if (asked === undefined) detail(`go.mod names no version: taking Go ${version}`);
  else detail(`${asked.where} ${asked.version}: Go ${version}`);
  const directory = join(layers, `go-${version}`);
  if (!isThere(directory)) {
    detail(`downloading Go ${version}`);
    rmSync(directory, { recursive: true, force: true });
    if (version === bootstrap.version) await fetchBootstrap(bootstrap, directory);
    else await fetchToolchain(bootstrap, version, directory);
  }
  declareLayer(layers, `go-${version}`, { cache: true }, { version });
  return { version, directory };
}

function isThere(directory: string): boolean {
  return existsSync(join(directory, 'bin', 'go'));
}

async function resolveVersion(layers: string, asked: AskedGo): Promise<string> {
  const restored = readdirSync(layers)
    .map((name) => /^go-(\d[0-9.a-z]*)$/.exec(name)?.[1])
    .filter((version) => version !== undefined && isThere(join(layers, `go-${version}`))) as string[];
  if (asked.kind === 'exact' && restored.includes(asked.version)) return asked.version;
  const question = `${asked.kind} ${asked.version}`;
  const recalled = recallVersion(layers, 'go', question);
  if (recalled !== undefined) return recalled;
  try {
    const version = await findVersion(asked);
    rememberVersion(layers, 'go', { question, version });
    return version;
  } catch (error) {
    const fallback = chooseGo(asked, restored);
    if (!(error instanceof RegistryError) || fallback === undefined) throw explained(error);
    warning(`the Go module proxy did not answer (${error.message}): using Go ${fallback}`);
    return fallback;
  }
}

async function findVersion(asked: AskedGo): Promise<string> {
  if (asked.kind === 'exact' && (await isPublished(asked.version))) return asked.version;
  const published = await publishedToolchains();
  const version = chooseGo(asked, published);
  if (version === undefined) throw new AppError(refusal(asked, published));
  return version;
}

async function fetchBootstrap({ version, hashes }: Bootstrap, directory: string): Promise<void> {
  const module = `golang.org/toolchain@${toolchainVersion(version)}`;
  const archive = await downloadToolchain(version).catch((error: unknown) => {
    throw explained(error);
  });
  const unpacked = `${directory}.unpacked`;
  mkdirSync(unpacked, { recursive: true });
  writeFileSync(join(unpacked, 'archive.zip'), archive);
  const args = ['unzip', '-q', '-d', unpacked, join(unpacked, 'archive.zip')];
  execFileSync('busybox', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  rmSync(join(unpacked, 'archive.zip'));
  const root = join(unpacked, module);
  const [found, wanted] = [moduleHash(root, module), hashes[process.arch]];
  if (found !== wanted) {
    throw new AppError(
      `${module} has the hash ${found} instead of ${wanted}: the proxy that GOPROXY names cannot be trusted`,
    );
  }
  completeToolchain(root);
  renameSync(root, directory);
  rmSync(unpacked, { recursive: true });
}

/** As `go` does it with one that it downloads: modules have no permissions, and none lies within another. */
function completeToolchain(root: string): void {
  for (const directory of ['bin', 'pkg/tool'].filter((name) => existsSync(join(root, name)))) {
    for (const entry of readdirSync(join(root, directory), { withFileTypes: true, recursive: true })) {
      if (entry.isFile()) chmodSync(join(entry.parentPath, entry.name), 0o755);
    }
  }
  const file = join(root, 'src', '_go.mod');
  if (existsSync(file)) copyFileSync(file, join(root, 'src', 'go.mod'));
}

async function fetchToolchain(bootstrap: Bootstrap, version: string, directory: string): Promise<void> {
  const fetching = `${directory}.bootstrap`;
  const modules = `${directory}.modules`;
  await fetchBootstrap(bootstrap, fetching);
  await runCommand(join(fetching, 'bin', 'go'), ['version'], {
    environment: {
      ...process.env,
      GOTOOLCHAIN: `go${version}`,
      GOMODCACHE: modules,
      GOPATH: `${modules}/path`,
      GOCACHE: `${modules}/cache`,
      HOME: modules,
    },
    directory: '/',
    shown: `download of Go ${version}`,
  });
  const root = join(modules, 'golang.org', `toolchain@${toolchainVersion(version)}`);
  makeWritable(root);
  renameSync(root, directory);
  for (const left of [fetching, modules]) rmSync(left, { recursive: true, force: true });
}

/** `go` takes the right to write away, whatever GOFLAGS says: such a directory can be neither moved nor removed. */
function makeWritable(root: string): void {
  chmodSync(root, 0o755);
  for (const entry of readdirSync(root, { withFileTypes: true, recursive: true }))
    if (entry.isDirectory()) chmodSync(join(entry.parentPath, entry.name), 0o755);
}
