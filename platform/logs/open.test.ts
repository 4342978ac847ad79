/** The log plank with a real API server, node agent, engine and containers. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type AgentFixture, agentFixture } from '#testing/agent-fixture.ts';
import { claimOctet } from '#testing/claim-octet.ts';
import { until } from '#testing/platform.ts';
import { when } from '#testing/when.ts';
import { createInformers, type Informers } from '../resources/informers.ts';
import { pods } from '../resources/kubernetes.ts';
import { annotations, labels } from '../resources/types.ts';
import type { LogEnvelope, Logs } from './logs.ts';
import { openLogs } from './open.ts';

let bed: AgentFixture;
let informers: Informers;
let logs: Logs;
const namespace = 'default';
const stop = new AbortController();

async function open(): Promise<void> {
  informers = createInformers(bed.client);
  logs = await openLogs({
    informers,
    signal: stop.signal,
    log: (level, message, fields) => level === 'error' && console.error(message, fields),
  });
}

before(async () => {
  bed = await agentFixture(await claimOctet());
  await open();
});
after(async () => {
  await logs.close();
  informers.close();
  await bed.close();
});

async function run(
  app: string,
  script: string,
  { index = '0', more = {} as Record<string, string> } = {},
): Promise<string> {
  const name = `${app}-${index}`;
  await bed.client.create(pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { [labels.app]: app, [labels.process]: `p-${app}`, [labels.processType]: 'web' },
      annotations: { [annotations.instanceIndex]: index, ...more },
    },
    spec: {
      nodeName: bed.nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: bed.image, imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', script] }],
    },
  });
  return name;
}

const text = ({ payload }: LogEnvelope): string => payload.toString();

/** Collects from now on; `until` resolves when the collected lines satisfy the condition. */
function collect(sourceId: string) {
  const lines: LogEnvelope[] = [];
  let check = (): void => undefined;
  const unsubscribe = logs.subscribe(sourceId, (envelopes) => {
    lines.push(...envelopes);
    check();
  });
  return {
    lines,
    unsubscribe,
    until(what: string, condition: (lines: LogEnvelope[]) => boolean): Promise<void> {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const timer = setTimeout(() => reject(new Error(`${what}: ${lines.length} lines came`)), 30_000);
      check = () => {
        if (!condition(lines)) return;
        clearTimeout(timer);
        resolve();
      };
      check();
      return promise;
    },
  };
}

function assertGrowing(envelopes: LogEnvelope[]): void {
  for (const [index, { timestamp }] of envelopes.entries()) {
    if (index > 0) assert.ok(timestamp > (envelopes[index - 1]?.timestamp ?? ''), `envelope ${index}`);
  }
}

test('logs: both streams of an instance, told apart, in growing times, beside what others emit', async () => {
  const seen = collect('app-streams');
  await run('app-streams', 'echo out; echo err >&2; echo "  spaces  "; sleep 1000', { index: '3' });
  await seen.until('three lines', (lines) => lines.length >= 3);
  logs.emit({ sourceId: 'app-streams', sourceType: 'API', message: 'Updated app' });
  await seen.until('four lines', (lines) => lines.length >= 4);
  const of = (type: string): string[] => seen.lines.filter((line) => line.type === type).map(text);
  assert.deepEqual(of('OUT'), ['out', '  spaces  ', 'Updated app']);
  assert.deepEqual(of('ERR'), ['err']);
  assert.equal(seen.lines[0]?.instanceId, '3');
  assert.equal(seen.lines[0]?.sourceType, 'APP/PROC/WEB');
  assert.ok(Math.abs(Number(BigInt(seen.lines[0]?.timestamp ?? 0) / 1_000_000n) - Date.now()) < 30_000);
  assertGrowing(seen.lines);
  seen.unsubscribe();

  // Read back: whole, from a time, from the end.
  const all = await logs.read({ sourceId: 'app-streams' });
  assert.deepEqual(all, seen.lines);
  const second = all[1]?.timestamp ?? '';
  assert.deepEqual(await logs.read({ sourceId: 'app-streams', startTime: second }), all.slice(1));
  assert.deepEqual(await logs.read({ sourceId: 'app-streams', endTime: second }), all.slice(0, 1));
  const newest = await logs.read({ sourceId: 'app-streams', descending: true, limit: 2 });
  assert.deepEqual(newest, all.toReversed().slice(0, 2));

  // The platform restarts: the instance's lines are there again, once.
  await logs.close();
  informers.close();
  await open();
  const readAgain = async () => (await logs.read({ sourceId: 'app-streams' })).map(text);
  await until('the backlog', async () => (await readAgain()).length >= 3, 60);
  const again = await readAgain();
  assert.deepEqual(again.toSorted(), ['  spaces  ', 'err', 'out']);
});

test('logs: a burst comes whole, though the node restarts meanwhile, and every run of a container', async () => {
  const seen = collect('app-burst');
  const name = await run(
    'app-burst',
    'i=0; while [ $i -lt 4000 ]; do echo "line $i"; i=$((i+1)); done; sleep 1; while [ $i -lt 4030 ]; do echo "line $i"; i=$((i+1)); sleep 0.1; done; exit 3',
  );
  await seen.until('the burst', (lines) => lines.length >= 4000);
  await bed.stopNode();
  await bed.startNode();
  await seen.until('both runs', (lines) => lines.filter((line) => text(line) === 'line 4029').length === 2);
  const texts = seen.lines.map(text);
  const first = texts.slice(0, 4030);
  assert.deepEqual(
    first,
    first.map((_, index) => `line ${index}`),
  );
  assert.deepEqual(texts.slice(4030, 8060), first);
  assertGrowing(seen.lines);
  seen.unsubscribe();
  await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  // The quiet neighbour lost nothing to the noisy one.
  assert.equal((await logs.read({ sourceId: 'app-streams' })).length, 3);
  logs.forget('app-burst');
  assert.deepEqual(await logs.read({ sourceId: 'app-burst' }), []);
});

test('logs: what is not in memory any more is read from the node, with the times that it had', async () => {
  const seen = collect('app-older');
  await run('app-older', 'i=0; while [ $i -lt 14000 ]; do echo "line $i"; i=$((i+1)); done; sleep 1000');
  await seen.until('all lines', (lines) => lines.length >= 14_000);
  seen.unsubscribe();
  const told = (line: LogEnvelope): string => `${line.timestamp} ${text(line)}`;
  const all = seen.lines.map(told);
  await logs.close();
  informers.close();
  await open();
  const readNewest = () => logs.read({ sourceId: 'app-older', limit: 1000, descending: true });
  // A read waits for a backlog, but not for ever.
  await until('the backlog', async () => (await readNewest()).length === 1000, 60);
  const newest = await readNewest();
  assert.deepEqual(newest.map(told), all.slice(-1000).reverse());
  const summary = logs.summaries().find(({ sourceId }) => sourceId === 'app-older');
  assert.ok((summary?.count ?? 0) >= 1000 && (summary?.count ?? 0) < 10_000, 'not all are in memory');
  // As `cf logs` goes through them.
  const walked: LogEnvelope[] = [];
  for (let startTime = '0'; ; ) {
    const batch = await logs.read({ sourceId: 'app-older', limit: 1000, startTime });
    if (batch.length === 0) break;
    walked.push(...batch);
    startTime = String(BigInt(batch.at(-1)?.timestamp ?? 0) + 1n);
  }
  assert.deepEqual(walked.map(told), all);
  const endTime = seen.lines[1500]?.timestamp ?? '';
  const before = await logs.read({ sourceId: 'app-older', endTime, limit: 50, descending: true });
  assert.deepEqual(before.map(told), all.slice(1450, 1500).reverse());
});

test('logs: a long line comes in pieces, none of it lost', async () => {
  const seen = collect('app-long');
  await run('app-long', 'head -c 150000 /dev/zero | tr "\\0" x; echo; echo end; sleep 1000');
  await seen.until('the end', (lines) => lines.some((line) => text(line) === 'end'));
  const long = seen.lines.slice(0, -1).map(text).join('');
  assert.equal(long.length, 150_000);
  assertGrowing(seen.lines);
  seen.unsubscribe();
});

test("logs: what is above an instance's limit is left out, counted and said; zero says nothing", async () => {
  const seen = collect('app-limited');
  // Two kilobytes at once of one in a second, and more when the second is over.
  const script =
    'head -c 1000 /dev/zero | tr "\\0" a; echo; for i in 1 2 3; do head -c 400 /dev/zero | tr "\\0" b; echo; done; echo end >&2; sleep 1000';
  await run('app-limited', script, { more: { [annotations.logRate]: '1024' } });
  const said = /^app instance exceeded log rate limit \(1024 bytes\/sec\): (\d+) lines? left out$/;
  const leftOut = (): number => seen.lines.reduce((sum, line) => sum + Number(said.exec(text(line))?.[1] ?? 0), 0);
  const passed = (): string[] => seen.lines.map(text).filter((line) => !said.test(line));
  await seen.until('all lines, or their number', () => passed().length + leftOut() >= 5);
  assert.equal(passed()[0], 'a'.repeat(1000));
  assert.equal(passed().length + leftOut(), 5);
  assert.ok(leftOut() >= 1, 'the first of the long ones is too much');
  const notice = seen.lines.find((line) => said.test(text(line)));
  assert.deepEqual([notice?.type, notice?.sourceType], ['OUT', 'APP/PROC/WEB']);
  seen.unsubscribe();

  const silent = collect('app-silent');
  const name = await run('app-silent', 'echo not to be seen', { more: { [annotations.logRate]: '0' } });
  await when(bed.client, pods, (all) =>
    all.some(({ metadata, status }) => metadata.name === name && status?.containerStatuses?.[0]?.lastState?.terminated),
  );
  assert.deepEqual(await logs.read({ sourceId: 'app-silent' }), []);
  assert.deepEqual(silent.lines, []);
  silent.unsubscribe();
});
