/**
 * A process that does things with an engine until it is killed: `node engine-chaos.ts OPTIONS IMAGE`.
 * Writes a line when it is ready and after every step.
 */
import { randomInt } from 'node:crypto';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';

const [, , optionsText = '{}', image = ''] = process.argv;
const engine = await openEngine(JSON.parse(optionsText) as EngineOptions);
const step = (): boolean => process.stdout.write('step\n');
step();

async function life(lane: number): Promise<never> {
  for (let round = 0; ; round += 1) {
    const sandbox = await engine.createSandbox({ name: `chaos-${process.pid}-${lane}-${round}`, hostname: 'chaos' });
    step();
    const limits = lane === 0 ? { diskBytes: 8 * 1024 * 1024 } : {};
    const command = ['sh', '-c', randomInt(2) === 0 ? 'exit 3' : 'sleep 600'];
    const container = await engine.createContainer({ sandbox: sandbox.id, name: 'main', image, command, limits });
    step();
    await engine.startContainer(container.id);
    step();
    if (randomInt(2) === 0) await engine.stopContainer(container.id, { graceSeconds: 0 });
    step();
    if (randomInt(3) > 0) await engine.removeSandbox(sandbox.id);
    step();
  }
}

await Promise.all([life(0), life(1)]);
