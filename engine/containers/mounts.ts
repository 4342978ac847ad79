/** What a container's spec mounts: prepared below its run directory, so that the runtime only has to bind. */
import { closeSync, mkdirSync, openSync, readSync } from 'node:fs';
import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import {
  type Container,
  type ContainerSpec,
  EngineError,
  type Mount,
  type Sandbox,
  type WrittenFile,
} from '../engine.ts';
import { SystemError, hasCode } from '../sys/libc.ts';
import {
  type MountEntry,
  MountFlag,
  type TreeOptions,
  bindTree,
  mount as mountFileSystem,
  mounts as mountTable,
} from '../sys/mounts.ts';
import type { Disks } from './disks.ts';
import { type ContainerPaths, type Layout, sandboxPaths } from './layout.ts';
import { publishFiles } from './file-set.ts';
import type { OciMount } from './oci.ts';
import { makeSearchable } from './sandbox-files.ts';
import { bindSubPath } from './sub-path.ts';

export interface MountRequest {
  layout: Layout;
  paths: ContainerPaths;
  sandbox: Sandbox;
  spec: ContainerSpec;
  disks: Disks;
}

export interface ReplaceRequest {
  container: Container;
  sandbox: Sandbox;
  target: string;
  files: readonly WrittenFile[];
}

type FilesMount = Extract<Mount, { kind: 'files' }>;
type SharedMount = Extract<Mount, { kind: 'shared' }>;

const sharedName = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,252}$/;

export async function prepareMounts(request: MountRequest): Promise<OciMount[]> {
  const { paths, sandbox, spec } = request;
  const wanted = spec.mounts ?? [];
  for (const [index, one] of wanted.entries()) validateTarget(one.target, `mounts[${index}].target`);
  const prepared: OciMount[] = [];
  mkdirSync(paths.mounts, { recursive: true });
  for (const [index, one] of wanted.entries()) {
    const place = join(paths.mounts, String(index));
    switch (one.kind) {
      case 'tmpfs':
        prepared.push(tmpfsMount(one));
        break;
      case 'files':
        makeFiles(place, one, sandbox);
        prepared.push(bind(below(place, one, sandbox), one.target, { readOnly: one.readOnly !== false }));
        break;
      case 'bind':
        if (one.propagation === 'rshared') {
          prepared.push(bind(sharedSource(one), one.target, one));
          break;
        }
        await bindHostPath(place, one, sandbox);
        prepared.push(bind(place, one.target, one));
        break;
      case 'shared':
        prepared.push(
          bind(below(await makeShared(request, one), one, sandbox, place), one.target, {
            readOnly: one.readOnly === true,
          }),
        );
        break;
    }
  }
  if (spec.lastWords !== undefined) {
    validateTarget(spec.lastWords, 'lastWords');
    prepared.push(bind(await makeLastWords(paths, sandbox), spec.lastWords, {}));
  }
  return prepared;
}

/** What is mounted of what the engine made: the whole, or what lies at its `subPath`. */
function below(whole: string, one: FilesMount | SharedMount, sandbox: Sandbox, place = `${whole}-part`): string {
  if (one.subPath === undefined) return whole;
  const owner = sandbox.idRange.first;
  bindSubPath({ root: whole, subPath: one.subPath, place, owner, tree: { noSuid: true, noDev: true } });
  return place;
}

const longestLastWords = 4096;

/** In a small file system of its own, so that nobody fills anything else with it. */
async function makeLastWords({ lastWords: place }: ContainerPaths, { idRange }: Sandbox): Promise<string> {
  await mkdir(place, { recursive: true });
  mountFileSystem('tmpfs', place, 'tmpfs', MountFlag.noSuid | MountFlag.noDev, 'mode=755,size=64k,nr_inodes=4');
  const file = join(place, 'file');
  await writeFile(file, '');
  await chown(file, idRange.first, idRange.first);
  await chmod(file, 0o666);
  return file;
}

/** At once, so that the end and its words are told together. Undefined where there are none, or no more: a boot takes them. */
export function readLastWords({ lastWords }: ContainerPaths): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(join(lastWords, 'file'), 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const buffer = Buffer.alloc(longestLastWords);
    const length = readSync(descriptor, buffer, 0, buffer.length, 0);
    return length === 0 ? undefined : buffer.toString('utf8', 0, length);
  } finally {
    closeSync(descriptor);
  }
}

type BindFlags = Pick<Extract<Mount, { kind: 'bind' }>, 'readOnly' | 'propagation' | 'noExec' | 'noAccessTime'>;

function bind(
  source: string,
  destination: string,
  { readOnly, propagation, noExec, noAccessTime }: BindFlags,
): OciMount {
  const options = ['rbind', propagation ?? 'rprivate', 'nosuid', 'nodev', readOnly === true ? 'ro' : 'rw'];
  if (noExec === true) options.push('noexec');
  if (noAccessTime === true) options.push('noatime');
  return { destination, type: 'bind', source, options };
}

function tmpfsMount(one: Extract<Mount, { kind: 'tmpfs' }>): OciMount {
  const { target, sizeBytes, mode, uid, gid, inodes } = one;
  const options = ['nosuid', 'nodev', `mode=${(mode ?? 0o1777).toString(8)}`];
  const numbers: [string, number | undefined][] = [
    ['size', sizeBytes],
    ['uid', uid],
    ['gid', gid],
    ['nr_inodes', inodes],
  ];
  for (const [name, value] of numbers) if (value !== undefined) options.push(`${name}=${value}`);
  if (one.noExec === true) options.push('noexec');
  if (one.noAccessTime === true) options.push('noatime');
  if (one.readOnly === true) options.push('ro');
  return { destination: target, type: 'tmpfs', source: 'tmpfs', options };
}

function validateTarget(target: string, field: string): void {
  const valid =
    target.startsWith('/') &&
    posix.normalize(target) !== '/' &&
    !target.includes('\0') &&
    !target.split('/').includes('..');
  if (!valid)
    throw new EngineError('invalid', `${field}: ${JSON.stringify(target)} is not an absolute path below the root`);
}

/** Where the mount may be written, it is a small file system of its own: the run directory is memory of the host. */
function makeFiles(place: string, { files, group, readOnly }: FilesMount, sandbox: Sandbox): void {
  mkdirSync(place, { recursive: true });
  if (readOnly === false) {
    const content = files.reduce((sum, file) => sum + file.content.length, 0);
    mountFileSystem(
      'tmpfs',
      place,
      'tmpfs',
      MountFlag.noSuid | MountFlag.noDev,
      `mode=755,size=${2 * content + 1024 * 1024}`,
    );
  }
  publishFiles(place, { files, group, firstId: sandbox.idRange.first });
}

/** @throws EngineError `not-found` where the container has no such mount */
export function replaceFiles(paths: ContainerPaths, { container, sandbox, target, files }: ReplaceRequest): void {
  const wanted = container.spec.mounts ?? [];
  const index = wanted.findIndex((one) => one.kind === 'files' && one.target === target && one.subPath === undefined);
  const found = wanted[index];
  if (found?.kind !== 'files')
    throw new EngineError('not-found', `container ${container.id} has no files mount at ${target}`);
  publishFiles(join(paths.mounts, String(index)), { files, group: found.group, firstId: sandbox.idRange.first });
}

/**
 * As it is, for the runtime to bind: a place of ours between the two would be one more peer, and whoever took what is mounted there away
 * would take it from all of them.
 */
function sharedSource({ source, subPath }: Extract<Mount, { kind: 'bind' }>): string {
  if (subPath !== undefined) throw new EngineError('invalid', 'mounts.propagation: rshared goes without subPath');
  const holder = mountTable()
    .filter(({ target }) => target === '/' || source === target || source.startsWith(`${target}/`))
    .reduce<MountEntry | undefined>(
      (best, one) => (best && best.target.length > one.target.length ? best : one),
      undefined,
    );
  if (holder?.isShared !== true)
    throw new EngineError(
      'invalid',
      `mounts.source: path ${source} is mounted on ${holder?.target ?? '/'} but it is not a shared mount: mount --make-rshared ${holder?.target ?? '/'}`,
    );
  return source;
}

/** The container's root owns what root owns on the host. */
async function bindHostPath(place: string, one: Extract<Mount, { kind: 'bind' }>, sandbox: Sandbox): Promise<void> {
  const { source } = one;
  if (!source.startsWith('/')) throw new EngineError('invalid', `mounts.source: "${source}" is not an absolute path`);
  const info = await stat(source).catch((error: unknown) => {
    throw new EngineError('invalid', `mounts.source: ${source} cannot be mounted: ${String(error)}`, { cause: error });
  });
  const tree: TreeOptions = {
    ...(sandbox.userNamespacePath === undefined ? {} : { userNamespacePath: sandbox.userNamespacePath }),
    readOnly: one.readOnly === true,
    noExec: one.noExec === true,
    noAccessTime: one.noAccessTime === true,
    noSuid: true,
    noDev: true,
    recursive: one.recursive === true,
    propagation: one.propagation === 'slave' || one.propagation === 'rslave' ? 'slave' : 'private',
  };
  try {
    if (one.subPath !== undefined) return bindSubPath({ root: source, subPath: one.subPath, place, owner: 0, tree });
    if (info.isDirectory()) await mkdir(place, { recursive: true });
    else await writeFile(place, '');
    bindTree(source, place, tree);
  } catch (error) {
    if (!(error instanceof SystemError) || !hasCode(error, 'EINVAL', 'ENOSYS', 'EPERM')) throw error;
    throw new EngineError(
      'invalid',
      `mounts.source: the file system of ${source}${one.recursive === true ? ', or of what is mounted below it,' : ''} has no id-mapped mounts (${error.code}): use a directory on ext4, xfs, btrfs or (from kernel 6.3) tmpfs`,
      { cause: error },
    );
  }
}

/** Made by the first container that asks for it. */
async function makeShared({ layout, sandbox, disks }: MountRequest, one: SharedMount): Promise<string> {
  if (!sharedName.test(one.name))
    throw new EngineError('invalid', `mounts.name: ${JSON.stringify(one.name)} is not a plain name`);
  const paths = sandboxPaths(layout, sandbox.id);
  const owner = sandbox.idRange.first;
  const place = join(paths.shared, one.name);
  if (mountTable().some(({ target }) => target === place)) return place;
  const group = owner + (one.group ?? 0);
  const mode = one.group === undefined ? 0o777 : 0o2777;
  makeSearchable(paths.shared, owner);
  await mkdir(place, { recursive: true });
  if (one.memory === true) {
    const size = one.sizeBytes === undefined ? '' : `,size=${one.sizeBytes}`;
    mountFileSystem(
      'tmpfs',
      place,
      'tmpfs',
      MountFlag.noSuid | MountFlag.noDev,
      `mode=${mode.toString(8)},uid=${owner},gid=${group}${size}`,
    );
    return place;
  }
  await mkdir(paths.data, { recursive: true, mode: 0o700 });
  const backing = join(paths.data, one.name);
  if (one.sizeBytes === undefined) {
    await mkdir(backing, { recursive: true });
    await chown(backing, owner, group);
    await chmod(backing, mode);
    bindTree(backing, place, { noSuid: true, noDev: true });
    return place;
  }
  await disks.create(`${backing}.img`, place, one.sizeBytes);
  await chown(place, owner, group);
  await chmod(place, mode);
  return place;
}
