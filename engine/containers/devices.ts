/**
 * Devices of the host for one container. In the host's user namespace the runtime makes the nodes. In a namespace of its
 * own nobody may make any, and the host's belong to nobody there: so they are made here, owned by the container's root, on
 * a small file system of their own, and bound.
 */
import { type Stats, chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { type ContainerSpec, type DeviceMapping, EngineError, type Sandbox } from '../engine.ts';
import { hasCode, syscall } from '../sys/libc.ts';
import { loopOf } from '../sys/loop.ts';
import { MountFlag, mount } from '../sys/mounts.ts';
import type { ContainerPaths } from './layout.ts';
import type { OciMount } from './oci.ts';

interface DeviceNode {
  path: string;
  type: 'c' | 'b';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

export interface GivenDevices {
  /** For the runtime to make. */
  nodes: DeviceNode[];
  /** Of nodes that are made. */
  mounts: OciMount[];
  /** For the cgroup's devices controller. */
  rules: { allow: boolean; access: string; type?: string; major?: number; minor?: number }[];
}

export interface DevicesRequest {
  paths: ContainerPaths;
  sandbox: Sandbox;
  spec: ContainerSpec;
  /** Where the images of disk volumes are. */
  diskVolumes: string;
}

export function giveDevices({ paths, sandbox, spec, diskVolumes }: DevicesRequest): GivenDevices {
  const wanted = (spec.devices ?? []).flatMap((one) => nodesOf(one, diskVolumes));
  if (spec.privileged === true) {
    const named = new Set(wanted.map(({ node }) => node.path));
    const others = hostDevices('/dev').filter(({ path }) => !named.has(path));
    const nodes = [...others, ...wanted.map(({ node }) => node)];
    return { nodes, mounts: [], rules: [{ allow: true, access: 'rwm' }] };
  }
  const given: GivenDevices = { nodes: [], mounts: [], rules: [] };
  if (wanted.length > 0 && sandbox.userNamespacePath !== undefined) mountPlace(paths.devices);
  for (const [index, { node, access }] of wanted.entries()) {
    const { type, major, minor } = node;
    given.rules.push({ allow: true, type, major, minor, access });
    if (sandbox.userNamespacePath === undefined) given.nodes.push(node);
    else given.mounts.push(makeNode(join(paths.devices, String(index)), node, sandbox));
  }
  return given;
}

/** A directory of devices gives all that are in it, as Docker has it. */
function nodesOf(
  { hostPath, path, access }: DeviceMapping,
  diskVolumes: string,
): { node: DeviceNode; access: string }[] {
  if (!/^[rwm]{1,3}$/.test(access))
    throw new EngineError('invalid', `devices: invalid device mode: ${access}; it is of the letters r, w and m`);
  if (!path.startsWith('/') || posix.normalize(path) === '/' || path.split('/').includes('..'))
    throw new EngineError('invalid', `devices: ${JSON.stringify(path)} is not an absolute path below the root`);
  let real: string;
  try {
    real = realpathSync(hostPath);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error;
    throw new EngineError(
      'invalid',
      `error gathering device information while adding custom device "${hostPath}": no such file or directory`,
      { cause: error },
    );
  }
  if (dirname(real) === diskVolumes) real = deviceOf(real);
  const info = statSync(real);
  const nodes = info.isDirectory() ? hostDevices(real, path) : [nodeOf(info, path)];
  const found = nodes.filter((one) => one !== undefined);
  if (found.length === 0)
    throw new EngineError(
      'invalid',
      `error gathering device information while adding custom device "${hostPath}": not a device node`,
    );
  return found.map((node) => ({ node, access }));
}

/** By what the kernel says of the image now: a number that was kept may be another's device by now. */
function deviceOf(image: string): string {
  const device = loopOf(image);
  if (device === undefined)
    throw new EngineError('invalid', `devices: ${image} has no device: mount the disk volume first`);
  return device;
}

/** Pseudo-terminals, shared memory and the like are the container's own. */
const ownOf = new Set(['pts', 'shm', 'mqueue', 'fd', 'console']);

function hostDevices(directory: string, as = directory): DeviceNode[] {
  return readdirSync(directory).flatMap((name) => {
    if (ownOf.has(name)) return [];
    const info = lstatSync(join(directory, name));
    if (info.isDirectory()) return hostDevices(join(directory, name), join(as, name));
    return nodeOf(info, join(as, name)) ?? [];
  });
}

/** Numbers as in makedev(3). Undefined for what is no device. */
function nodeOf(info: Stats, path: string): DeviceNode | undefined {
  if (!info.isCharacterDevice() && !info.isBlockDevice()) return undefined;
  const device = BigInt(info.rdev);
  return {
    path,
    type: info.isBlockDevice() ? 'b' : 'c',
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)),
    minor: Number((device & 0xffn) | ((device >> 12n) & ~0xffn)),
    fileMode: info.mode & 0o777,
    uid: info.uid,
    gid: info.gid,
  };
}

/** The run directory's own file system may refuse devices. */
function mountPlace(place: string): void {
  mkdirSync(place, { recursive: true });
  mount('tmpfs', place, 'tmpfs', MountFlag.noSuid | MountFlag.noExec, 'mode=711,size=64k');
}

function makeNode(place: string, node: DeviceNode, sandbox: Sandbox): OciMount {
  const AT_FDCWD = -100;
  const kind = node.type === 'b' ? 0o060000 : 0o020000;
  const { major, minor } = node;
  const device = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12);
  syscall('mknodat', AT_FDCWD, place, kind | 0o600, device);
  const { first, length } = sandbox.idRange;
  chownSync(place, first + (node.uid < length ? node.uid : 0), first + (node.gid < length ? node.gid : 0));
  chmodSync(place, node.fileMode);
  return { destination: node.path, type: 'bind', source: place, options: ['bind', 'rprivate', 'nosuid', 'noexec'] };
}
