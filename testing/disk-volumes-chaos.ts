/**
 * A process that makes, grows, fills, unmounts and removes disk volumes until it is killed: `node disk-volumes-chaos.ts OPTIONS`.
 * Writes a line when it is ready and after every step.
 */
import { randomInt } from 'node:crypto';
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';

const MiB = 1024 * 1024;
const { diskVolumes } = await openEngine(JSON.parse(process.argv[2] ?? '{}') as EngineOptions);
const step = (): boolean => process.stdout.write('step\n');
step();

async function life(name: string): Promise<never> {
  for (let size = 16 * MiB; ; size += 4 * MiB) {
    const { path } = await diskVolumes.mount({ name, sizeBytes: size });
    step();
    // What was synced must be there after the kill, and be of this volume.
    const file = openSync(join(path, 'name'), 'w');
    writeSync(file, name);
    fsyncSync(file);
    closeSync(file);
    if (randomInt(2) === 0) await diskVolumes.unmount(name);
    step();
    if (randomInt(4) > 0) continue;
    await diskVolumes.remove(name);
    size = 16 * MiB;
    step();
  }
}

async function lifeOfDevice(name: string): Promise<never> {
  for (let size = 16 * MiB; ; size += 4 * MiB) {
    await diskVolumes.mount({ name, sizeBytes: size, kind: 'block' });
    step();
    if (randomInt(2) === 0) await diskVolumes.unmount(name);
    if (randomInt(4) > 0) continue;
    await diskVolumes.remove(name);
    size = 16 * MiB;
    step();
  }
}

await Promise.all([life('one'), life('two'), lifeOfDevice('device')]);
