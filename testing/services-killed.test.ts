/** The agent's process killed with SIGKILL under load, and started again, while pods come and go: no request through a Service fails. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { createEndpointSliceController } from '#cluster/controllers/endpoint-slice.ts';
import { endpointSlices, pods, services } from '#cluster/kinds/resources.ts';
import { removeServices } from '#cluster/network/services/start.ts';
import { purgeEngine } from '#engine/open.ts';
import { type AgentApiFixture, agentApiFixture } from './agent-api-fixture.ts';
import { agentProcess } from './agent-process.ts';
import { claimOctet } from './claim-octet.ts';
import type { KillableProgram } from './killable.ts';
import { until } from './until.ts';

const rounds = 4;
const namespace = 'default';
let api: AgentApiFixture;
let agent: KillableProgram;

before(async () => {
  api = await agentApiFixture(await claimOctet(), { controllers: [createEndpointSliceController()] });
  agent = agentProcess(api, { network: api.network });
});
after(async () => {
  await agent.kill();
  await purgeEngine(api.engine);
  await removeServices(api.network.instance);
  await api.close();
});

async function serve(name: string): Promise<void> {
  const container = {
    name: 'main',
    image: 'fixtures.invalid/busybox:latest',
    imagePullPolicy: 'IfNotPresent',
    command: ['sh', '-c', 'mkdir /tmp/www && echo fine > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www'],
    readinessProbe: { httpGet: { path: '/', port: 8080 } },
    // What ends is led around before it stops.
    lifecycle: { preStop: { exec: { command: ['sleep', '5'] } } },
  };
  await api.client.create(pods, {
    metadata: { name, namespace, labels: { app: 'web' } },
    spec: { nodeName: api.agent.nodeName, terminationGracePeriodSeconds: 10, containers: [container] },
  });
}

const ready = (count: number): Promise<void> =>
  until(async () => {
    const { items } = await api.client.list(endpointSlices, { namespace });
    const own = items.filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === 'web');
    return own.flatMap((one) => one.endpoints).filter(({ conditions }) => conditions?.ready).length === count;
  });

function ask(host: string): Promise<string> {
  return new Promise((resolve) => {
    const call = request({ host, agent: false, timeout: 5000 }, (response) => {
      response.resume();
      response.once('end', () => resolve(String(response.statusCode)));
      response.once('error', (error) => resolve(error.message));
    });
    call.once('timeout', () => call.destroy(new Error('no answer')));
    call.once('error', (error) => resolve(error.message));
    call.end();
  });
}

test('kill -9 of the agent under load', async () => {
  await agent.start();
  await Promise.all([serve('web-0'), serve('web-1')]);
  const { spec } = await api.client.create(services, {
    metadata: { name: 'web', namespace },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  await ready(2);
  const address = spec?.clusterIP ?? '';
  await until(async () => (await ask(address)) === '200');
  const answers = new Map<string, number>();
  let stopped = false;
  const load = Array.from({ length: 4 }, async () => {
    while (!stopped) {
      const answer = await ask(address);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  });
  for (let round = 0; round < rounds; round++) {
    await agent.kill();
    // Nobody follows this change until the next agent comes.
    await api.client.delete(pods, `web-${round}`, { namespace });
    const before = answers.get('200') ?? 0;
    await until(async () => (answers.get('200') ?? 0) > before + 50);
    await agent.start();
    await serve(`web-${round + 2}`);
    await ready(2);
  }
  stopped = true;
  await Promise.all(load);
  assert.deepEqual([...answers.keys()], ['200'], JSON.stringify([...answers]));
});
