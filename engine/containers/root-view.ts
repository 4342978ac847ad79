/**
 * A container's files as one tree, behind one descriptor. A running container's is the root of its first process, with everything
 * that is mounted there. Of one that does not run it is put together: a copy of the root's mount, and on it what the spec
 * mounts; a detached copy of that tree is what is handed on: it lives as long as the descriptor and no longer, also when we are killed.
 */
import { closeSync, constants, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { processStartTime } from '#lib/process-start-time.ts';
import { EngineError, type Sandbox } from '../engine.ts';
import { OpenFlag, openInRoot } from '../sys/files.ts';
import { hasCode } from '../sys/libc.ts';
import { attachTree, attachTreeAt, cloneTree, makeReadOnly, mounts, unmount } from '../sys/mounts.ts';
import type { ContainerRecord } from './container-records.ts';
import { type Layout, containerPaths, sandboxPaths } from './layout.ts';
import { ensureDirectory, ensureFile } from './tree-write.ts';

const { O_RDONLY, O_DIRECTORY } = constants;

export interface ViewRequest {
  layout: Layout;
  record: ContainerRecord;
  sandbox: Sandbox;
}

/** @returns a descriptor of the root directory, the caller's to close */
export function openRootView(request: ViewRequest): number {
  const { record } = request;
  if (record.state !== 'running' || record.pid === undefined) return assembleTree(request);
  let root: number;
  try {
    root = openSync(`/proc/${record.pid}/root`, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ESRCH')) throw error;
    throw new EngineError('conflict', `container ${record.id} has just ended`, { cause: error });
  }
  // The number may belong to another process by now.
  if (processStartTime(record.pid) === record.pidStartTime) return root;
  closeSync(root);
  throw new EngineError('conflict', `container ${record.id} has just ended`);
}

interface Piece {
  source: string;
  target: string;
  readOnly: boolean;
  isFile: boolean;
}

/** Without a pause between its steps: nobody else is in the directory where it is put together. */
function assembleTree({ layout, record, sandbox }: ViewRequest): number {
  const paths = containerPaths(layout, record.id);
  if (!mounts().some(({ target }) => target === paths.rootfs))
    throw new EngineError('conflict', `container ${record.id} lost its files' mounts when the machine was booted`);
  const place = join(paths.run, 'view');
  mkdirSync(place, { recursive: true, mode: 0o700 });
  const tree = cloneTree(paths.rootfs, {});
  try {
    attachTree(tree, place);
    try {
      for (const piece of pieces(layout, record, sandbox)) attachPiece(tree, piece, sandbox.idRange.first);
      if (record.spec.readOnlyRoot === true) makeReadOnly(tree);
      // Unmounting takes what is mounted in it apart; a copy of the whole belongs to its descriptor alone.
      return cloneTree(place, { recursive: true });
    } finally {
      unmount(place);
    }
  } finally {
    closeSync(tree);
  }
}

function pieces(layout: Layout, record: ContainerRecord, sandbox: Sandbox): Piece[] {
  const paths = containerPaths(layout, record.id);
  const own = sandboxPaths(layout, sandbox.id);
  const etc = [
    { source: own.hosts, target: '/etc/hosts' },
    { source: own.resolver, target: '/etc/resolv.conf' },
    { source: own.hostname, target: '/etc/hostname' },
  ].map((one): Piece => ({ ...one, readOnly: true, isFile: true }));
  const wanted = (record.spec.mounts ?? []).flatMap((mount, index): Piece[] => {
    if (mount.kind === 'tmpfs') return [];
    const source = mount.kind === 'shared' ? join(own.shared, mount.name) : join(paths.mounts, String(index));
    const readOnly = mount.kind === 'files' ? mount.readOnly !== false : mount.readOnly === true;
    return [{ source, target: mount.target, readOnly, isFile: false }];
  });
  const depth = ({ target }: Piece): number => target.split('/').filter(Boolean).length;
  return [...etc, ...wanted.sort((left, right) => depth(left) - depth(right))].filter(({ source }) =>
    existsSync(source),
  );
}

/** Nothing where the image has no such place, and it cannot be made: there is nothing to see then either. */
function attachPiece(root: number, { source, target, readOnly, isFile }: Piece, owner: number): void {
  const path = Buffer.from(target).toString('latin1');
  let at: number;
  try {
    at = openInRoot(root, path, OpenFlag.path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error;
    // As the runtime does at the start.
    try {
      at = isFile ? ensureFile(root, path, owner) : ensureDirectory(root, path, owner);
    } catch (failure) {
      if (hasCode(failure, 'EROFS', 'ENOTDIR', 'ELOOP', 'EEXIST')) return;
      throw failure;
    }
  }
  try {
    const tree = cloneTree(source, { readOnly, noSuid: true, noDev: true });
    try {
      attachTreeAt(tree, at);
    } catch (error) {
      // A file on a directory, or the other way round: the runtime refuses it at the start.
      if (!hasCode(error, 'ENOTDIR')) throw error;
    } finally {
      closeSync(tree);
    }
  } finally {
    closeSync(at);
  }
}
