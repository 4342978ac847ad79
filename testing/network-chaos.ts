/**
 * A process that makes networks, puts sandboxes in and takes them out, until it is killed: `node network-chaos.ts OPTIONS`.
 * Writes a line when it is ready and after every step.
 */
import { randomInt } from 'node:crypto';
import { hostHasIpv6 } from '#engine/network/ipv6-host.ts';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';

const [, , optionsText = '{}'] = process.argv;
const engine = await openEngine(JSON.parse(optionsText) as EngineOptions);
const step = (): boolean => process.stdout.write('step\n');
step();

async function life(lane: number): Promise<never> {
  for (let round = 0; ; round += 1) {
    const name = `chaos-${process.pid}-${lane}-${round}`;
    const both = hostHasIpv6() && randomInt(2) === 0;
    const network = await engine.networks.create({
      name,
      internal: randomInt(2) === 0,
      ...(both ? { ipv6: {} } : {}),
    });
    step();
    const inside = await engine.createSandbox({
      name: `${name}-in`,
      hostname: 'in',
      networks: [{ network: network.id }],
    });
    step();
    const outside = await engine.createSandbox({ name: `${name}-out`, hostname: 'out' });
    step();
    await engine.publishPorts(outside.id, [{ hostIp: '127.0.0.1', hostPort: 0, port: 80, protocol: 'tcp' }]);
    step();
    await engine.networks.connect(outside.id, { network: network.id, aliases: ['out'] });
    step();
    await engine.networks.disconnect(outside.id, 'bridge');
    step();
    await engine.networks.disconnect(outside.id, network.id);
    step();
    await engine.removeSandbox(inside.id);
    step();
    await engine.networks.remove(network.id);
    step();
    await engine.removeSandbox(outside.id);
    step();
  }
}

await Promise.all([life(0), life(1)]);
