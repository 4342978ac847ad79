/** The node agent and its engine killed with SIGKILL, again and again, at any moment: nothing is doubled, lost or restarted. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pods } from '#cluster/kinds/resources.ts';
import { openEngine, purgeEngine } from '#engine/open.ts';
import { type AgentApiFixture, agentApiFixture } from './agent-api-fixture.ts';
import { agentProcess } from './agent-process.ts';
import { claimOctet } from './claim-octet.ts';
import type { KillableProgram } from './killable.ts';

const rounds = 8;
const namespace = 'default';
let api: AgentApiFixture;
let agent: KillableProgram;

before(async () => {
  api = await agentApiFixture(await claimOctet());
  agent = agentProcess(api);
});

after(async () => {
  await agent.kill();
  await purgeEngine(api.engine);
  await api.close();
});

async function create(name: string): Promise<void> {
  const container = {
    name: 'main',
    image: 'fixtures.invalid/busybox:latest',
    imagePullPolicy: 'IfNotPresent',
    command: ['sleep', '1000'],
  };
  await api.client.create(pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { nodeName: api.agent.nodeName, terminationGracePeriodSeconds: 1, containers: [container] },
  });
}

test('killed at any moment', async () => {
  await agent.start();
  const wanted: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const names = [`r${round}-a`, `r${round}-b`];
    await Promise.all(names.map(create));
    wanted.push(...names);
    const leaving = wanted.length > 2 ? wanted.shift() : undefined;
    if (leaving) await api.client.delete(pods, leaving, { namespace });
    // Not a wait for anything: the moment of the kill is what varies.
    await delay(400 + round * 130);
    await agent.kill();
    if (round < rounds - 1) agent.begin();
  }
  await agent.start();
  const ready = await Promise.all(
    wanted.map((name) =>
      api.until(
        name,
        'Ready',
        (pod) => pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
      ),
    ),
  );
  for (const { metadata } of api.pods()) {
    if (!wanted.includes(metadata.name)) await api.until(metadata.name, 'gone', (pod) => pod === undefined);
  }
  assert.deepEqual(
    ready.map(({ status }) => status?.containerStatuses?.[0]?.restartCount),
    wanted.map(() => 0),
  );
  await agent.kill();
  const engine = await openEngine(api.engine);
  try {
    const names = engine.sandboxes().map(({ name }) => name.split('/')[1]);
    assert.deepEqual(names.sort(), [...wanted].sort(), 'one sandbox for each pod');
    assert.equal(engine.containers().length, wanted.length, 'one container for each pod');
    const ids = new Set(
      engine
        .containers()
        .filter(({ state }) => state === 'running')
        .map(({ id }) => `sampan://${id}`),
    );
    for (const { status } of ready) assert.ok(ids.has(status?.containerStatuses?.[0]?.containerID ?? ''));
  } finally {
    await engine.close();
  }
});
