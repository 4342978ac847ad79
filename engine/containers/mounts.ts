/** What a container's spec mounts: prepared below its run directory, so that the runtime only has to bind. */
import { mkdirSync } from 'node:fs';
import { chmod, chown, mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { EngineError, type ContainerSpec, type Mount, type Sandbox } from '../engine.ts';
import { SystemError, hasCode } from '../sys/libc.ts';
import { MountFlag, bindTree, mount as mountFileSystem, mounts as mountTable } from '../sys/mounts.ts';
import type { Disks } from './disks.ts';
import { type ContainerPaths, type Layout, sandboxPaths } from './layout.ts';
import type { OciMount } from './oci.ts';
import { makeSearchable } from './sandbox-files.ts';

export interface MountRequest {
  layout: Layout;
  paths: ContainerPaths;
  sandbox: Sandbox;
  spec: ContainerSpec;
  disks: Disks;
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
        await makeFiles(place, one, sandbox);
        prepared.push(bind(place, one.target, one.readOnly !== false));
        break;
      case 'bind':
        await bindHostPath(place, one, sandbox);
        prepared.push(bind(place, one.target, one.readOnly === true, one.propagation));
        break;
      case 'shared':
        prepared.push(bind(await makeShared(request, one), one.target, one.readOnly === true));
        break;
    }
  }
  return prepared;
}

function bind(source: string, destination: string, readOnly: boolean, propagation = 'rprivate'): OciMount {
  const options = ['rbind', propagation, 'nosuid', 'nodev', readOnly ? 'ro' : 'rw'];
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
async function makeFiles(place: string, { files, readOnly }: FilesMount, sandbox: Sandbox): Promise<void> {
  await mkdir(place, { recursive: true });
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
  await chown(place, sandbox.idRange.first, sandbox.idRange.first);
  await writeFiles(place, files, sandbox);
}

/** Writes files owned by the container's root; each is replaced by rename, so that a reader sees the old or the new one. */
export async function writeFiles(place: string, files: FilesMount['files'], sandbox: Sandbox): Promise<void> {
  const owner = sandbox.idRange.first;
  for (const { path, content, mode = 0o644 } of files) {
    const parts = path.split('/');
    if (parts.some((part) => part === '' || part === '.' || part === '..') || path.includes('\0')) {
      throw new EngineError(
        'invalid',
        `mounts.files.path: ${JSON.stringify(path)} is not a plain path below the target`,
      );
    }
    for (let depth = 1; depth < parts.length; depth += 1) {
      const directory = join(place, ...parts.slice(0, depth));
      await mkdir(directory, { recursive: true });
      await chown(directory, owner, owner);
    }
    const target = join(place, path);
    const aside = join(dirname(target), `..new-${parts.at(-1)}`);
    await writeFile(aside, content, { mode: 0o600 });
    await chown(aside, owner, owner);
    await chmod(aside, mode & 0o777);
    await rename(aside, target);
  }
}

/** The container's root owns what root owns on the host. */
async function bindHostPath(place: string, one: Extract<Mount, { kind: 'bind' }>, sandbox: Sandbox): Promise<void> {
  const { source } = one;
  if (!source.startsWith('/')) throw new EngineError('invalid', `mounts.source: "${source}" is not an absolute path`);
  const info = await stat(source).catch((error: unknown) => {
    throw new EngineError('invalid', `mounts.source: ${source} cannot be mounted: ${String(error)}`, { cause: error });
  });
  if (info.isDirectory()) await mkdir(place, { recursive: true });
  else await writeFile(place, '');
  try {
    bindTree(source, place, {
      ...(sandbox.userNamespacePath === undefined ? {} : { userNamespacePath: sandbox.userNamespacePath }),
      readOnly: one.readOnly === true,
      noSuid: true,
      noDev: true,
      recursive: one.recursive === true,
      propagation: one.propagation === 'slave' || one.propagation === 'rslave' ? 'slave' : 'private',
    });
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
  makeSearchable(paths.shared, owner);
  await mkdir(place, { recursive: true });
  if (one.memory === true) {
    const size = one.sizeBytes === undefined ? '' : `,size=${one.sizeBytes}`;
    mountFileSystem(
      'tmpfs',
      place,
      'tmpfs',
      MountFlag.noSuid | MountFlag.noDev,
      `mode=777,uid=${owner},gid=${owner}${size}`,
    );
    return place;
  }
  await mkdir(paths.data, { recursive: true, mode: 0o700 });
  const backing = join(paths.data, one.name);
  if (one.sizeBytes === undefined) {
    await mkdir(backing, { recursive: true });
    await chown(backing, owner, owner);
    await chmod(backing, 0o777);
    bindTree(backing, place, { noSuid: true, noDev: true });
    return place;
  }
  await disks.create(`${backing}.img`, place, one.sizeBytes);
  await chown(place, owner, owner);
  await chmod(place, 0o777);
  return place;
}
