/**
 * Mounts: the few kernel calls behind id-mapped layers, overlays and bound namespaces.
 * File descriptors that are returned belong to the caller.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { hasCode, syscall } from './libc.ts';

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
const MNT_DETACH = 2;

export const MountFlag = {
  readOnly: 0x1,
  noSuid: 0x2,
  noDev: 0x4,
  noExec: 0x8,
  remount: 0x20,
  bind: 0x1000,
  recursive: 0x4000,
  private: 0x40000,
  slave: 0x80000,
} as const;

const Attribute = {
  readOnly: 0x1n,
  noSuid: 0x2n,
  noDev: 0x4n,
  noExec: 0x8n,
  noAccessTime: 0x10n,
  /** All that is said of times of access, which are one of several. */
  accessTimes: 0x70n,
  idMap: 0x100000n,
} as const;

export interface TreeOptions {
  /** Path of a user namespace: the tree's ids are shifted into it. */
  userNamespacePath?: string;
  readOnly?: boolean;
  noSuid?: boolean;
  noDev?: boolean;
  noExec?: boolean;
  noAccessTime?: boolean;
  /** With the mounts below it. */
  recursive?: boolean;
  /** Whether mounts that are made below the source later appear in it; those in it never appear at the source. Default private. */
  propagation?: 'private' | 'slave';
}

/** mount(2). */
export function mount(source: string, target: string, type: string, flags: number, data: string | null): void {
  syscall('mount', source, target, type, flags, data);
}

/** Binds one path to another; the mount is private, so that nothing propagates. */
export function bindMount(source: string, target: string): void {
  syscall('mount', source, target, null, MountFlag.bind, null);
  syscall('mount', null, target, null, MountFlag.private, null);
}

/** Detaches the topmost mount at `target`. False where nothing is mounted there. */
export function unmount(target: string): boolean {
  try {
    syscall('umount2', target, MNT_DETACH);
    return true;
  } catch (error) {
    if (hasCode(error, 'EINVAL', 'ENOENT')) return false;
    throw error;
  }
}

/** A detached copy of the mount at `source` (a path, or a descriptor of what to bind), with the attributes. Close the descriptor, or `attachTree` it first. */
export function cloneTree(source: string | number, options: TreeOptions): number {
  const recursive = options.recursive === true ? AT_RECURSIVE : 0;
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive;
  const tree =
    typeof source === 'string'
      ? syscall('open_tree', AT_FDCWD, source, flags)
      : syscall('open_tree', source, '', flags | AT_EMPTY_PATH);
  try {
    let set = 0n;
    if (options.readOnly === true) set |= Attribute.readOnly;
    if (options.noSuid === true) set |= Attribute.noSuid;
    if (options.noDev === true) set |= Attribute.noDev;
    if (options.noExec === true) set |= Attribute.noExec;
    if (options.noAccessTime === true) set |= Attribute.noAccessTime;
    const namespace = options.userNamespacePath === undefined ? undefined : openSync(options.userNamespacePath, 'r');
    try {
      if (namespace !== undefined) set |= Attribute.idMap;
      // struct mount_attr: attr_set, attr_clr, propagation, userns_fd; eight bytes each.
      const attributes = Buffer.alloc(32);
      attributes.writeBigUInt64LE(set, 0);
      if (options.noAccessTime === true) attributes.writeBigUInt64LE(Attribute.accessTimes, 8);
      // A copy of a shared mount is its peer: what is unmounted below the copy would go from the source too.
      attributes.writeBigUInt64LE(BigInt(options.propagation === 'slave' ? MountFlag.slave : MountFlag.private), 16);
      attributes.writeBigUInt64LE(BigInt(namespace ?? 0), 24);
      syscall('mount_setattr', tree, '', AT_EMPTY_PATH | recursive, attributes, attributes.length);
    } finally {
      if (namespace !== undefined) closeSync(namespace);
    }
    return tree;
  } catch (error) {
    closeSync(tree);
    throw error;
  }
}

/** Attaches a tree from `cloneTree` at `target`. The descriptor stays open and then refers to the attached mount. */
export function attachTree(tree: number, target: string): void {
  syscall('move_mount', tree, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}

/** The same on what a descriptor (O_PATH) refers to: no name is looked up, so nobody can put another thing in its place. */
export function attachTreeAt(tree: number, target: number): void {
  syscall('move_mount', tree, '', target, '', MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/** From now on nothing is written through this mount; those on it are as they were. */
export function makeReadOnly(tree: number): void {
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(Attribute.readOnly, 0);
  syscall('mount_setattr', tree, '', AT_EMPTY_PATH, attributes, attributes.length);
}

/** Binds with attributes (id mapping, read-only) in one step. */
export function bindTree(source: string | number, target: string, options: TreeOptions): void {
  const tree = cloneTree(source, options);
  try {
    attachTree(tree, target);
  } finally {
    closeSync(tree);
  }
}

export interface MountEntry {
  target: string;
  type: string;
  source: string;
  /** What is mounted below it is mounted below its peers too. */
  isShared: boolean;
}

/** Every mount of this mount namespace, oldest first (proc(5), mountinfo). */
export function mounts(): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [left, right] = line.split(' - ');
    const [target, , ...tags] = left?.split(' ').slice(4) ?? [];
    const [type, source] = right?.split(' ') ?? [];
    if (target === undefined || type === undefined) continue;
    const isShared = tags.some((tag) => tag.startsWith('shared:'));
    entries.push({ target: unescapePath(target), type, source: unescapePath(source ?? ''), isShared });
  }
  return entries;
}

function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Detaches every mount at or below a directory, newest first. */
export function unmountBelow(directory: string): void {
  const below = mounts().filter(({ target }) => target === directory || target.startsWith(`${directory}/`));
  for (const { target } of below.reverse()) unmount(target);
}
