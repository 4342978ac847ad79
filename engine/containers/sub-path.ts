/** What lies at a path below a directory that somebody else writes to: opened by the kernel step by step, never by a name that was checked. */
import { closeSync, constants, fchmodSync, fchownSync, fstatSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { EngineError } from '../engine.ts';
import { OpenFlag, openBeneath, openDirectoryBeneath } from '../sys/files.ts';
import { hasCode } from '../sys/libc.ts';
import { type TreeOptions, bindTree } from '../sys/mounts.ts';

export interface SubPathRequest {
  /** A directory of this host. */
  root: string;
  subPath: string;
  /** Where it is bound: must not be there yet. */
  place: string;
  /** Of directories that are made. */
  owner: number;
  tree: TreeOptions;
}

export function bindSubPath({ root, subPath, place, owner, tree }: SubPathRequest): void {
  const parts = subPath.split('/').filter((part) => part !== '' && part !== '.');
  if (subPath.startsWith('/') || subPath.includes('\0') || parts.includes('..'))
    throw invalid(subPath, 'is not a relative path without ".."');
  const top = openRoot(root, subPath);
  try {
    const found = openOrMake(top, parts, { subPath, owner });
    try {
      if (fstatSync(found).isDirectory()) mkdirSync(place);
      else writeFileSync(place, '', { flag: 'wx' });
      bindTree(found, place, tree);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) throw invalid(subPath, 'was taken away while it was mounted');
      throw error;
    } finally {
      closeSync(found);
    }
  } finally {
    closeSync(top);
  }
}

function openRoot(root: string, subPath: string): number {
  try {
    return openSync(root, OpenFlag.path | constants.O_DIRECTORY);
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) throw invalid(subPath, `needs a directory to be in: ${root} is none`);
    throw error;
  }
}

function openOrMake(top: number, parts: readonly string[], request: { subPath: string; owner: number }): number {
  const there = openAt(top, parts, request.subPath);
  if (there !== undefined) return there;
  const { mode } = fstatSync(top);
  for (let depth = 1; depth <= parts.length; depth += 1) {
    const step = openAt(top, parts.slice(0, depth), request.subPath);
    if (step !== undefined) closeSync(step);
    else makeDirectory(top, parts.slice(0, depth), { ...request, mode });
  }
  const made = openAt(top, parts, request.subPath);
  if (made === undefined) throw invalid(request.subPath, 'leads nowhere');
  return made;
}

function makeDirectory(
  top: number,
  parts: readonly string[],
  { subPath, owner, mode }: { subPath: string; owner: number; mode: number },
): void {
  const name = parts.at(-1) ?? '';
  const parent = openAt(top, parts.slice(0, -1), subPath);
  if (parent === undefined) throw invalid(subPath, 'was taken away while it was made');
  try {
    mkdirSync(`/proc/self/fd/${parent}/${name}`, { mode: 0o700 });
    const made = openDirectoryBeneath(parent, Buffer.from(name).toString('latin1'));
    if (made === undefined) throw invalid(subPath, 'was taken away while it was made');
    try {
      // The group is that of the directory above, where that says so.
      fchownSync(made, owner, fstatSync(made).gid === 0 ? owner : fstatSync(made).gid);
      fchmodSync(made, (mode & 0o777) | (fstatSync(made).mode & 0o2000));
    } finally {
      closeSync(made);
    }
  } catch (error) {
    if (hasCode(error, 'EEXIST', 'ENOTDIR')) throw invalid(subPath, 'leads through something that is no directory');
    // Its owner removed the directory that is open here.
    if (hasCode(error, 'ENOENT')) throw invalid(subPath, 'was taken away while it was made');
    throw error;
  } finally {
    closeSync(parent);
  }
}

/** Undefined where there is nothing. */
function openAt(top: number, parts: readonly string[], subPath: string): number | undefined {
  try {
    return openBeneath(top, Buffer.from(parts.join('/')).toString('latin1'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    if (hasCode(error, 'EXDEV', 'ELOOP')) throw invalid(subPath, 'leads out of the volume through a link');
    if (hasCode(error, 'ENOTDIR')) throw invalid(subPath, 'leads through something that is no directory');
    throw error;
  }
}

function invalid(subPath: string, what: string): EngineError {
  return new EngineError('invalid', `mounts.subPath: ${JSON.stringify(subPath)} ${what}`);
}
