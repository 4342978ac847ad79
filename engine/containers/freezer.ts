/**
 * The cgroup freezer: v1 has a controller whose `freezer.state` is asked to be FROZEN and is FREEZING until every process has
 * stopped (freezer-subsystem.rst); v2 has `cgroup.freeze` in every cgroup, and `frozen 1` in cgroup.events when it is so.
 */
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';

/** What is needed of `Cgroups`. */
interface Place {
  readonly version: 'v1' | 'v2';
  directory(controller: string, path: string): string;
}

const mostLooks = 400;

/** Resolves when every process in it has stopped. @throws EngineError `unavailable` where one does not, and all go on then */
export async function freeze(place: Place, path: string): Promise<void> {
  for (let look = 1; look <= mostLooks; look += 1) {
    // v1 misses a process that is just being forked, until it is asked again; letting all go on for a moment helps where many are.
    if (place.version === 'v1' && look % 50 === 0) {
      await setFrozen(place, path, false);
      await delay(10);
    }
    if (place.version === 'v1' || look === 1) await setFrozen(place, path, true);
    if (await isFrozen(place, path)) return;
    // v1 tells nobody when it is done. Most are done at once.
    await delay(Math.min(look, 10));
  }
  await setFrozen(place, path, false);
  throw new EngineError('unavailable', `the processes of ${path} did not stop in time: one may wait for a disk`);
}

/** Idempotent; nothing where the cgroup is gone. What lies below goes on too. */
export async function thaw(place: Place, path: string): Promise<void> {
  try {
    const directory = place.directory('freezer', path);
    const entries = await readdir(directory, { withFileTypes: true });
    await setFrozen(place, path, false);
    for (const entry of entries) if (entry.isDirectory()) await thaw(place, `${path}/${entry.name}`);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENODEV') && !(error instanceof EngineError)) throw error;
  }
}

/** False where the cgroup is gone. */
export async function isFrozen(place: Place, path: string): Promise<boolean> {
  const v2 = place.version === 'v2';
  try {
    const text = await readFile(join(place.directory('freezer', path), v2 ? 'cgroup.events' : 'freezer.state'), 'utf8');
    return v2 ? /^frozen 1$/m.test(text) : text.trim() === 'FROZEN';
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV') || error instanceof EngineError) return false;
    throw error;
  }
}

async function setFrozen(place: Place, path: string, frozen: boolean): Promise<void> {
  const [file, value] =
    place.version === 'v2' ? ['cgroup.freeze', frozen ? '1' : '0'] : ['freezer.state', frozen ? 'FROZEN' : 'THAWED'];
  await writeFile(join(place.directory('freezer', path), file), value);
}
