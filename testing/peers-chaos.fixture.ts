/** Changes the overlay's peers without end, until it is killed: options as JSON in the first argument. */
import { randomInt } from 'node:crypto';
import { Network, type OpenNetworkOptions } from '#engine/network/open.ts';

const [, , text = '{}'] = process.argv;
const network = new Network({ ...(JSON.parse(text) as OpenNetworkOptions), log: () => {} });
await network.ensure();
process.stdout.write('ready\n');
for (;;) {
  const present = Array.from({ length: 20 }, (_, index) => index + 1).filter(() => randomInt(2) === 0);
  // A range may move to another host, too.
  await network.setPeers(
    present.map((n) => ({ address: `192.0.2.${10 + n}`, range: `10.86.${10 + ((n + randomInt(3) * 20) % 60)}.0/24` })),
  );
}
