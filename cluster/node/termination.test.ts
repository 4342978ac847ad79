/** How containers are stopped: whose grace counts, and what hooks do. On an engine and an API in memory, as in `worker.test.ts`. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { apiDouble } from '#testing/agent-api-double.ts';
import { EngineDouble } from '#testing/agent-engine-double.ts';
import { podObject } from '#testing/agent-pod.ts';
import { until } from '#testing/until.ts';
import type { Container } from '../kinds/types/core.ts';
import { roomOf } from './node-settings.ts';
import { NodeVolumes } from './node-volumes.ts';
import { strictPolicy } from './security.ts';
import { PodWorker } from './worker.ts';

async function start(t: TestContext, container: Partial<Container>, execCode = 0) {
  const engine = new EngineDouble();
  engine.present.add('local/app:1');
  engine.execCode = execCode;
  const api = apiDouble(podObject('a', { containers: [container] }));
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sampan-agent-'));
  const messages: string[] = [];
  const recorder = {
    record: ({ reason, message }: { reason: string; message: string }) => void messages.push(`${reason}: ${message}`),
    close: async () => {},
  };
  const log = () => {};
  const { client } = api;
  const worker = new PodWorker(
    {
      nodeName: 'node-1',
      hostIps: ['192.0.2.1'],
      engine,
      client,
      recorder,
      policy: strictPolicy,
      volumes: new NodeVolumes({ nodeName: 'node-1', client, engine, recorder, dataDirectory, log }),
      room: roomOf({ milliCpus: 4000, memoryBytes: 2 ** 33, diskBytes: 2 ** 40 }, {}),
      dataDirectory,
      log,
    },
    api.pod,
    () => {},
  );
  const abort = new AbortController();
  t.after(async () => {
    abort.abort();
    await worker.close();
    await rm(dataDirectory, { recursive: true });
  });
  void (async () => {
    for await (const _event of engine.events({ signal: abort.signal })) worker.wake();
  })();
  return { engine, messages };
}

const failing = { exec: { command: ['check'] }, periodSeconds: 1, failureThreshold: 1 };

test('a probe that ends a container may have a grace of its own', async (t) => {
  const livenessProbe = { ...failing, terminationGracePeriodSeconds: 3 };
  const { engine, messages } = await start(t, { livenessProbe }, 1);
  await until(async () => engine.calls.includes('stop main_0 3'));
  assert.ok(messages.includes('Killing: Container main failed liveness probe, will be restarted'), messages.join('\n'));
});

test('without one it is the pod’s', async (t) => {
  const { engine } = await start(t, { livenessProbe: failing }, 1);
  await until(async () => engine.calls.includes('stop main_0 30'));
});

test('a postStart hook that fails ends its container', async (t) => {
  const { engine, messages } = await start(t, { lifecycle: { postStart: { exec: { command: ['greet'] } } } }, 5);
  await until(async () => engine.calls.includes('stop main_0 30'));
  assert.ok(
    messages.some((text) => text.startsWith('FailedPostStartHook: ')),
    messages.join('\n'),
  );
});
