/** The message bus with a real nats-server. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { freePort } from '#lib/ports.ts';
import { until } from '#testing/platform.ts';
import { ALL_METRICS, type Bus, type BusPasswords, metricsSubject, WAKE_METRICS } from './bus.ts';
import { type BusConnection, connectBus } from './client.ts';
import { type BusServer, openBusServer, stopBusServer } from './server.ts';

const passwords: BusPasswords = { agent: 'password of the "agent"', platform: 'password of the platform' };
let directory: string;
let port: number;
let server: BusServer;
let agent: BusConnection;

const options = () => ({ instance: 'bus-test', dataDirectory: directory, port, passwords, log: () => undefined });
const agentBus = (password = passwords.agent): BusConnection =>
  connectBus({ port, role: 'agent', password, log: () => undefined });

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sampan-bus-'));
  port = await freePort();
  server = await openBusServer(options());
  agent = agentBus();
  await connected(server.bus, agent);
});
after(async () => {
  await agent.close();
  await server.close();
  await stopBusServer(options());
  assert.deepEqual(pids(), []);
  await stopBusServer(options());
  await rm(directory, { recursive: true, force: true });
});

function connected(...buses: Bus[]): Promise<unknown> {
  return Promise.all(buses.map((bus) => until('a connection', async () => bus.connected, 60)));
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, 'utf8');
        return line.startsWith('nats-server') && line.includes(directory);
      } catch {
        return false; // it ended
      }
    })
    .map(Number);
}

/** Publishes until it is heard: a subscription reaches the server a moment after it was made. */
async function heard(from: Bus, subject: string, message: unknown, to: Bus, listen: string): Promise<unknown> {
  const messages: unknown[] = [];
  const end = to.subscribe(listen, (one) => messages.push(one));
  await until(
    'the message',
    async () => {
      from.publish(subject, message);
      return messages.length > 0;
    },
    60,
  );
  end();
  return messages[0];
}

test('bus: measurements go one way, wake-ups the other', async () => {
  const subject = metricsSubject('node.one example');
  assert.equal(subject, 'metrics.node_one_example');
  assert.deepEqual(await heard(agent, subject, { node: 'one', at: 1 }, server.bus, ALL_METRICS), {
    node: 'one',
    at: 1,
  });
  assert.equal(await heard(server.bus, WAKE_METRICS, undefined, agent, WAKE_METRICS), undefined);
});

test('bus: a role says and hears what is its own, and nobody comes in without its password', async () => {
  const overheard: unknown[] = [];
  agent.subscribe('metrics.*', (message) => overheard.push(message));
  agent.subscribe('>', (message) => overheard.push(message));
  server.bus.publish('metrics.forged', { node: 'forged' });
  // What is refused does not end the connection: what is allowed comes after it.
  await heard(server.bus, WAKE_METRICS, undefined, agent, WAKE_METRICS);
  await heard(agent, 'metrics.one', {}, server.bus, ALL_METRICS);
  assert.equal(overheard.length, 0);
  const admitted: string[] = [];
  await using strangers = new AsyncDisposableStack();
  const refusals = (): number =>
    readFileSync(join(directory, 'nats.log'), 'utf8').split('authentication error').length - 1;
  for (const password of ['', 'guess', passwords.platform]) {
    const before = refusals();
    const stranger = agentBus(password);
    strangers.defer(() => stranger.close());
    stranger.onConnected(() => void admitted.push(password));
    await until('a refusal', async () => refusals() > before, 60);
    assert.equal(stranger.publish('metrics.stranger', {}), false);
  }
  assert.equal(admitted.length, 0);
});

test('bus: a server that is killed comes back, and so do those who listen; what runs is adopted', async () => {
  const [first = 0] = pids();
  const messages: unknown[] = [];
  server.bus.subscribe(ALL_METRICS, (message) => messages.push(message));
  process.kill(first, 'SIGKILL');
  await until('another server', async () => pids().some((pid) => pid !== first), 60);
  await until(
    'a message over it',
    async () => {
      agent.publish('metrics.two', { after: 'the kill' });
      return messages.some((message) => (message as { after?: string }).after === 'the kill');
    },
    60,
  );
  const [second] = pids();
  await server.close();
  assert.deepEqual(pids(), [second], 'it stands outside of us');
  server = await openBusServer(options());
  await connected(server.bus, agent);
  assert.deepEqual(pids(), [second]);
  await heard(agent, 'metrics.three', {}, server.bus, ALL_METRICS);
});
