/**
 * Loop devices: a file as a block device, freed by the kernel when its last mount goes (autoclear), or kept until it is freed.
 * Source: linux/loop.h, `struct loop_config` and `struct loop_info64`.
 */
import { closeSync, existsSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { hasCode, syscall } from './libc.ts';

const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_CAPACITY = 0x4c07;
const LO_FLAGS_AUTOCLEAR = 4;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** `struct loop_config` is 304 bytes: fd, block_size, loop_info64 (232), reserved. lo_flags is 52 bytes into loop_info64. */
const configLength = 304;
const flagsOffset = 8 + 52;
const nameOffset = 8 + 56;

/**
 * Gives a file a loop device. The device is freed when nothing uses it any more: mount it, then close `descriptor`. With `kept` it
 * stays until `freeLoop`.
 */
export function attachLoop(file: string, options: { kept?: boolean } = {}): { device: string; descriptor: number } {
  const control = openSync('/dev/loop-control', 'r+');
  const backing = openSync(file, 'r+');
  try {
    for (let attempt = 0; attempt < 64; attempt += 1) {
      const device = `/dev/loop${syscall('ioctl', control, LOOP_CTL_GET_FREE)}`;
      const descriptor = openSync(device, 'r+');
      try {
        const config = Buffer.alloc(configLength);
        config.writeUInt32LE(backing, 0);
        if (options.kept !== true) config.writeUInt32LE(LO_FLAGS_AUTOCLEAR, flagsOffset);
        config.write(file.slice(-63), nameOffset, 63, 'latin1');
        syscall('ioctl', descriptor, LOOP_CONFIGURE, config);
        return { device, descriptor };
      } catch (error) {
        closeSync(descriptor);
        // Somebody else took it between the two calls.
        if (!hasCode(error, 'EBUSY')) throw error;
      }
    }
    throw new Error(`no free loop device for ${file} after 64 attempts`);
  } finally {
    closeSync(backing);
    closeSync(control);
  }
}

/** The loop device that a file has, held open as `attachLoop` does; undefined where it has none. */
export function openLoop(file: string): { device: string; descriptor: number } | undefined {
  const device = loopOf(file);
  if (device === undefined) return undefined;
  const descriptor = openSync(device, 'r+');
  // Held open it stays; before that it may have been freed, and given to another file.
  if (loopOf(file) === device) return { device, descriptor };
  closeSync(descriptor);
  return undefined;
}

/** The loop device that a file has. */
export function loopOf(file: string): string | undefined {
  for (const name of readdirSync('/sys/block')) {
    if (name.startsWith('loop') && backingFile(name) === file) return `/dev/${name}`;
  }
  return undefined;
}

/** Its device goes as soon as nobody has it open. */
export function isLoopGoing(device: string): boolean {
  return readAttribute(device.slice('/dev/'.length), 'autoclear') === '1';
}

/** Frees the device that a file was given to keep, at once, or as soon as nobody has it open. */
export function freeLoop(descriptor: number): void {
  syscall('ioctl', descriptor, LOOP_CLR_FD, 0);
}

/** The file has grown: so does the device. */
export function refreshLoopSize(device: string): void {
  const descriptor = openSync(device, 'r+');
  try {
    syscall('ioctl', descriptor, LOOP_SET_CAPACITY, 0);
  } finally {
    closeSync(descriptor);
  }
}

function backingFile(name: string): string | undefined {
  return readAttribute(name, 'backing_file');
}

function readAttribute(name: string, attribute: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${name}/loop/${attribute}`, 'utf8').trimEnd();
  } catch (error) {
    // It has none, or lost it meanwhile.
    if (hasCode(error, 'ENOENT', 'ENXIO', 'EIO')) return undefined;
    throw error;
  }
}

/** Frees every loop device whose backing file is at or below a directory, deleted files too. */
export function detachLoopsBelow(directory: string): void {
  for (const name of readdirSync('/sys/block')) {
    const attribute = `/sys/block/${name}/loop/backing_file`;
    if (!name.startsWith('loop') || !existsSync(attribute)) continue;
    try {
      if (!readFileSync(attribute, 'utf8').startsWith(`${directory}/`)) continue;
      const descriptor = openSync(`/dev/${name}`, 'r');
      try {
        syscall('ioctl', descriptor, LOOP_CLR_FD, 0);
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      // Freed by the kernel meanwhile.
      if (!hasCode(error, 'ENXIO', 'ENOENT')) throw error;
    }
  }
}

/** The parts of a sparse file that hold data, as `[start, end)` in bytes. */
export function dataExtents(descriptor: number, size: number): { start: number; end: number }[] {
  const extents: { start: number; end: number }[] = [];
  let position = 0;
  while (position < size) {
    try {
      const start = syscall('lseek', descriptor, position, SEEK_DATA);
      const end = syscall('lseek', descriptor, start, SEEK_HOLE);
      extents.push({ start, end });
      position = end;
    } catch (error) {
      if (hasCode(error, 'ENXIO')) break;
      throw error;
    }
  }
  return extents;
}
