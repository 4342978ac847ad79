/** The loop devices of disk volumes that have no file system: each stays with its file until it is taken away, whatever becomes of the engine. */
import { closeSync, fsync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { attachLoop, freeLoop, isLoopGoing, loopOf, openLoop, refreshLoopSize } from '../sys/loop.ts';

/** Somebody of the host's (udev looks into every device) may have one open yet that is to go, and the kernel tells nobody when it went. */
const LOOKS = 100;
const LOOK_AGAIN = 50;

export function hasDevice(file: string): boolean {
  const device = loopOf(file);
  return device !== undefined && !isLoopGoing(device);
}

/** Of the size that the file has. */
export async function giveDevice(name: string, file: string): Promise<void> {
  for (let look = 0; look < LOOKS; look += 1) {
    const device = loopOf(file);
    if (device === undefined) return attach(file);
    if (!isLoopGoing(device)) return refreshLoopSize(device);
    await delay(LOOK_AGAIN);
  }
  const message = `volume "${name}": somebody of this host has the device open that it had before: close ${loopOf(file)}`;
  throw new EngineError('conflict', message);
}

/** What a container discards (mkfs does) would be given back to the host's disk, and was set aside for it. */
function attach(file: string): void {
  const { device, descriptor } = attachLoop(file, { kept: true });
  try {
    writeFileSync(`/sys/block/${basename(device)}/queue/discard_max_bytes`, '0');
  } catch (error) {
    // As some machines inside of containers have it: then it is the volume's owner who gives it away.
    if (!hasCode(error, 'EROFS', 'EACCES')) throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** What was written is on the disk then. */
export async function takeDevice(file: string): Promise<void> {
  const loop = openLoop(file);
  if (loop === undefined) return;
  try {
    await promisify(fsync)(loop.descriptor);
    freeLoop(loop.descriptor);
  } finally {
    closeSync(loop.descriptor);
  }
}
