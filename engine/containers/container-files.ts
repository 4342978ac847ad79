/** Makes and removes the files and mounts of one container. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { processStartTime } from '#lib/process-start-time.ts';
import { run } from '#lib/run.ts';
import { type ContainerSpec, EngineError, type Image, type Sandbox } from '../engine.ts';
import { readInRoot } from '../sys/files.ts';
import { bindMount, mounts, unmountBelow } from '../sys/mounts.ts';
import type { Cgroups } from './cgroups.ts';
import { giveDevices } from './devices.ts';
import type { Disks } from './disks.ts';
import { hostFacts } from './host-facts.ts';
import { type ContainerPaths, type Layout, containerPaths, sandboxPaths } from './layout.ts';
import { prepareMounts } from './mounts.ts';
import { type ContainerUser, ociConfig } from './oci.ts';
import { makeRootfs } from './rootfs.ts';
import { makeSearchable } from './sandbox-files.ts';
import { seedMounts } from './seed.ts';
import { groupNumber, resolveUser } from './users.ts';

export interface BundleRequest {
  layout: Layout;
  disks: Disks;
  cgroups: Cgroups;
  id: string;
  spec: ContainerSpec;
  sandbox: Sandbox;
  image: Image;
  layers: string[];
  logPath: string;
  openFiles: number;
  /** Whose processes it shares. */
  processesOf?: SharedProcesses;
  /** It was made before, and a boot took what is not on disk. */
  again?: boolean;
}

export interface SharedProcesses {
  pid: number;
  startTime: string | undefined;
}

/** Bound to a file: the number alone may be another process's by the time that it is used, and that one of the host's. */
function pinProcesses(paths: ContainerPaths, { pid, startTime }: SharedProcesses): string {
  writeFileSync(paths.processes, '');
  const ended = (cause?: unknown): EngineError =>
    new EngineError('conflict', 'processesOf: the container whose processes are to be shared ended meanwhile', {
      cause,
    });
  try {
    bindMount(`/proc/${pid}/ns/pid`, paths.processes);
  } catch (error) {
    throw ended(error);
  }
  if (processStartTime(pid) !== startTime) throw ended();
  return paths.processes;
}

/** Everything that the runtime needs, below the container's two directories. */
export async function makeBundle(request: BundleRequest): Promise<void> {
  const { layout, disks, cgroups, id, spec, sandbox, image, layers } = request;
  const paths = containerPaths(layout, id);
  mkdirSync(paths.data, { recursive: true, mode: 0o700 });
  makeSearchable(paths.run, sandbox.idRange.first);
  for (const directory of [paths.bundle, paths.persist]) mkdirSync(directory, { recursive: true, mode: 0o700 });
  mkdirSync(dirname(request.logPath), { recursive: true, mode: 0o755 });
  const diskBytes = spec.limits?.diskBytes;
  await makeRootfs({ paths, sandbox, layers, disks, ...(diskBytes === undefined ? {} : { diskBytes }) });
  if (request.again !== true) await seedMounts({ paths, spec, layers });
  const etc = sandboxPaths(layout, sandbox.id);
  const name = spec.user ?? image.config.user ?? '';
  const user = lookUpUser(paths, name, [
    ...(spec.supplementaryGroups ?? []),
    ...lookUpGroups(paths, spec.supplementaryGroupNames ?? []),
  ]);
  if (spec.nonRoot === true && user.uid === 0)
    throw new EngineError('invalid', `user: "${name}" is root in the image, and the container may not be root's`);
  const config = ociConfig({
    spec,
    image: image.config,
    user,
    ...(spec.init === true ? { init: findInit() } : {}),
    hostname: sandbox.hostname,
    rootfs: paths.rootfs,
    ...(sandbox.userNamespacePath === undefined ? {} : { userNamespacePath: sandbox.userNamespacePath }),
    ...(sandbox.network === 'host' ? {} : { networkNamespacePath: sandbox.networkNamespacePath }),
    // What was made by an engine before this one has none to share.
    ...(spec.ipc === 'sandbox' && existsSync(etc.ipcNamespace) ? { ipcNamespacePath: etc.ipcNamespace } : {}),
    ...(request.processesOf === undefined ? {} : { processNamespacePath: pinProcesses(paths, request.processesOf) }),
    idRange: sandbox.idRange,
    cgroupsPath: cgroups.path(sandbox.id, id),
    cgroupVersion: cgroups.version,
    swapAccounting: cgroups.swapAccounting,
    mounts: await prepareMounts({ layout, paths, sandbox, spec, disks }),
    etc: { hosts: etc.hosts, resolver: etc.resolver, hostname: etc.hostname },
    engineCapabilities: hostFacts().capabilities,
    devices: giveDevices({ paths, sandbox, spec, diskVolumes: layout.diskVolumesData }),
    hostMaskedPaths: hostFacts().maskedPaths,
    oomScoreAdjustment: hostFacts().oomScoreAdjustment,
    openFiles: request.openFiles,
    arch: process.arch,
  });
  writeFileSync(`${paths.bundle}/config.json`, JSON.stringify(config), { mode: 0o600 });
}

/**
 * The same once more, around what the container wrote: its run directory went with a boot. Leaves that as it was where it fails.
 * @throws EngineError `conflict` where the engine was given files for it, which it keeps no copy of
 */
export async function remakeBundle(request: BundleRequest): Promise<void> {
  const files = (request.spec.mounts ?? []).find(({ kind }) => kind === 'files');
  if (files !== undefined)
    throw new EngineError(
      'conflict',
      `container ${request.id} had files at ${files.target} that went with the last boot: remove it and make a new one`,
    );
  const { run } = containerPaths(request.layout, request.id);
  const clear = async (): Promise<void> => {
    unmountBelow(run);
    await rm(run, { recursive: true, force: true });
  };
  // What a remaking that was killed left.
  await clear();
  try {
    await makeBundle({ ...request, again: true });
  } catch (error) {
    await clear();
    throw error;
  }
}

/** Names come from the container's own files, which nobody trusts. */
export function lookUpUser(paths: ContainerPaths, user: string, supplementary?: readonly number[]): ContainerUser {
  const read = (path: string): string => readInRoot(paths.rootfs, path)?.toString('utf8') ?? '';
  return resolveUser(user, { passwd: read('etc/passwd'), group: read('etc/group') }, supplementary);
}

function lookUpGroups(paths: ContainerPaths, names: readonly string[]): number[] {
  const text = readInRoot(paths.rootfs, 'etc/group')?.toString('utf8') ?? '';
  return names.map((name) => groupNumber(name, text));
}

/** Debian's tini, which needs nothing of the container's own libraries. */
function findInit(): string {
  for (const path of ['/usr/bin/tini-static', '/usr/libexec/docker/docker-init', '/usr/bin/docker-init'])
    if (existsSync(path)) return path;
  throw new EngineError(
    'unavailable',
    'init: this host has no init program for containers: apt-get install tini, or start an init that the image has',
  );
}

/** Idempotent. Nothing of the container runs any more. */
export async function removeBundle(layout: Layout, id: string): Promise<void> {
  const paths = containerPaths(layout, id);
  // Unmounting an image writes what is not on disk yet: not in our own thread.
  if (mounts().some(({ target }) => target === paths.diskMount)) {
    unmountBelow(paths.rootfs);
    await run('umount', ['--lazy', paths.diskMount], { allow: [32] });
  }
  unmountBelow(paths.run);
  const options = { recursive: true, force: true, maxRetries: 5, retryDelay: 20 };
  await rm(paths.run, options);
  await rm(paths.runtime, options);
  await rm(paths.data, options);
}
