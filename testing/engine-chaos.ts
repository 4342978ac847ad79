/**
 * A process that does things with an engine until it is killed: `node engine-chaos.ts OPTIONS IMAGE`.
 * Says `ready` when it has begun, and the id of every sandbox that it was told to be made.
 */
import { randomInt } from 'node:crypto';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';

const [, , optionsText = '{}', image = ''] = process.argv;
const engine = await openEngine(JSON.parse(optionsText) as EngineOptions);
process.stdout.write('ready\n');

async function life(lane: number): Promise<never> {
  for (let round = 0; ; round += 1) {
    const sandbox = await engine.createSandbox({ name: `chaos-${process.pid}-${lane}-${round}`, hostname: 'chaos' });
    const limits = lane === 0 ? { diskBytes: 8 * 1024 * 1024 } : {};
    const command = ['sh', '-c', randomInt(2) === 0 ? 'exit 3' : 'sleep 600'];
    const container = await engine.createContainer({ sandbox: sandbox.id, name: 'main', image, command, limits });
    await engine.startContainer(container.id);
    if (randomInt(2) === 0) await engine.stopContainer(container.id, { graceSeconds: 0 });
    if (randomInt(3) > 0) await engine.removeSandbox(sandbox.id);
  }
}

await Promise.all([life(0), life(1)]);
