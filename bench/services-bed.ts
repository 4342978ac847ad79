/**
 * 1,000 Services of 10 endpoints each, from a real API server over HTTPS to the kernel: how long an agent takes to bring them all, how
 * long one changed endpoint takes from the server's answer to the kernel, and what a connection takes through so many. Prints rows.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createClient } from '#cluster/client/create.ts';
import { endpointSlices, services } from '#cluster/kinds/resources.ts';
import { startServiceProxy } from '#cluster/network/services/start.ts';
import { startControlPlane } from '#testing/control-plane.ts';
import { median, percentile, type Row } from './row.ts';

const count = 1000;
const namespace = 'bench';
const server = '10.99.255.254';
const network = {
  instance: 'bench',
  podCidr: '10.99.0.0/24',
  clusterCidr: '10.99.0.0/16',
  serviceCidr: '10.96.0.0/16',
};

execFileSync('ip', ['link', 'set', 'lo', 'up']);
for (const address of [`${server}/32`, '10.99.0.1/32']) execFileSync('ip', ['address', 'add', address, 'dev', 'lo']);
execFileSync('ip', ['route', 'add', 'default', 'dev', 'lo']);
const plane = await startControlPlane();
await plane.namespace(namespace);

const endpointsOf = (index: number, turn = 0) =>
  Array.from({ length: 10 }, (_, nth) => {
    const number = (index * 10 + nth + turn * 17) % 60_000;
    return { addresses: [`10.99.${number >> 8}.${number & 255}`], conditions: { ready: true }, nodeName: 'node' };
  });
const sliceOf = (index: number, endpoints: { addresses: string[] }[]) => ({
  metadata: { name: `service-${index}-a`, namespace, labels: { 'kubernetes.io/service-name': `service-${index}` } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints,
});
const addresses: string[] = [];
for (let base = 0; base < count; base += 50) {
  await Promise.all(
    Array.from({ length: 50 }, async (_, offset) => {
      const index = base + offset;
      const spec = { ports: [{ name: 'http', port: 80 }] };
      const made = await plane.client.create(services, { metadata: { name: `service-${index}`, namespace }, spec });
      addresses[index] = made.spec?.clusterIP ?? '';
      const endpoints = index === 0 ? [{ addresses: [server] }] : endpointsOf(index);
      await plane.client.create(endpointSlices, sliceOf(index, endpoints));
    }),
  );
}

const began = performance.now();
const proxy = startServiceProxy({
  network,
  nodeName: 'node',
  client: createClient(plane.https()),
  log: (_level, message, fields) => console.error(message, fields),
});
await proxy.ready;
const first = performance.now() - began;

const changes: number[] = [];
for (let turn = 1; turn <= 100; turn++) {
  const name = `service-${1 + ((turn * 7) % (count - 1))}-a`;
  const slice = await plane.client.get(endpointSlices, name, namespace);
  const [, ...rest] = slice.endpoints;
  const endpoints = [...rest, { addresses: [`10.99.240.${turn}`], conditions: { ready: true } }];
  const { metadata } = await plane.client.update(endpointSlices, { ...slice, endpoints });
  const answered = performance.now();
  await proxy.settled({ endpointSlice: metadata.resourceVersion });
  changes.push(performance.now() - answered);
}

const listener = createServer((socket) => socket.end());
listener.listen(80, server);
listener.on('error', (error) => console.error(error));
await once(listener, 'listening');
createServer((socket) => socket.end()).listen(8080, server);
const connectTimes = async (host: string, port: number): Promise<number> => {
  const times: number[] = [];
  for (let turn = 0; turn < 500; turn++) {
    const start = performance.now();
    const socket = connect(port, host);
    await once(socket, 'connect');
    times.push(performance.now() - start);
    socket.destroy();
  }
  return median(times);
};
const direct = await connectTimes(server, 80);
const through = await connectTimes(addresses[0] ?? '', 80);
const rows: Row[] = [
  { what: `all rules of ${count} Services x 10, from the agent's start`, unit: 'ms', ours: first, goal: '' },
  {
    what: 'one endpoint changed: from the API to the kernel, median',
    unit: 'ms',
    ours: median(changes),
    goal: 'a few ms',
  },
  { what: 'the same, 99th percentile', unit: 'ms', ours: percentile(changes, 0.99), goal: '' },
  {
    what: 'a connection through a Service, median',
    unit: 'ms',
    ours: through,
    peer: { name: 'without one', value: direct },
    goal: 'no more than without one',
  },
];
process.stdout.write(JSON.stringify(rows), () => process.exit(0));
