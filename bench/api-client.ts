/** The clients of `api.ts`, in a process of their own: what they cost is not the server's. Takes one task by IPC, answers with its figures. */
import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from '#cluster/client/create.ts';
import { type HttpsTransportOptions, httpsTransport } from '#cluster/client/https.ts';
import { readAll } from '#cluster/client/json-lines.ts';
import { pods } from '#cluster/kinds/resources.ts';
import { simulatedPod } from './simulated.ts';

export type ClientTask = { address: HttpsTransportOptions; namespace: string; pods: number } & (
  | { kind: 'requests'; perSecond: number; seconds: number }
  | { kind: 'lists'; count: number }
  | { kind: 'watches'; count: number; changes: number }
);

export interface ClientFigures {
  /** Milliseconds. */
  latencies: Record<string, number[]>;
}

/** Sent at fixed times, whether or not those before were answered: a slow server is not spared. */
async function requests(task: ClientTask & { kind: 'requests' }): Promise<ClientFigures> {
  const client = createClient(httpsTransport(task.address));
  const [gets, updates]: [number[], number[]] = [[], []];
  const under: Promise<void>[] = [];
  const began = performance.now();
  const one = async (index: number): Promise<void> => {
    const name = simulatedPod(task.namespace, Math.floor(Math.random() * task.pods)).metadata.name ?? '';
    const sent = performance.now();
    const pod = await client.get(pods, name, task.namespace);
    gets.push(performance.now() - sent);
    const annotations = { ...pod.metadata.annotations, turn: String(index) };
    const written = performance.now();
    await client.update(pods, { ...pod, metadata: { ...pod.metadata, annotations } });
    updates.push(performance.now() - written);
  };
  // A get and an update each.
  const rounds = (task.perSecond / 2) * task.seconds;
  for (let index = 0; index < rounds; index++) {
    const due = began + (index * 2000) / task.perSecond;
    if (due > performance.now()) await delay(due - performance.now());
    // Two turns of one pod may meet.
    under.push(
      one(index).catch(
        (error: unknown) => void (String(error).includes('modified') || process.stderr.write(`${error}\n`)),
      ),
    );
  }
  await Promise.all(under);
  return { latencies: { get: gets, update: updates } };
}

async function lists(task: ClientTask & { kind: 'lists' }): Promise<ClientFigures> {
  const transport = httpsTransport(task.address);
  const times: number[] = [];
  for (let round = 0; round < task.count; round++) {
    const sent = performance.now();
    const { body } = await transport.request({
      method: 'GET',
      path: '/api/v1/pods',
      headers: { accept: 'application/json' },
    });
    await readAll(body);
    times.push(performance.now() - sent);
  }
  return { latencies: { list: times } };
}

const mark = /"sent":"(\d+\.?\d*)"/g;

/** Says `ready` when all are open, then takes the time of each change at each watcher. */
async function watches(task: ClientTask & { kind: 'watches' }): Promise<ClientFigures> {
  const times: number[] = [];
  const expected = task.count * task.changes;
  const { promise, resolve } = Promise.withResolvers<void>();
  const perTransport = 200;
  let transport = httpsTransport(task.address);
  const { resourceVersion } = await createClient(transport).list(pods, { namespace: task.namespace, limit: 1 });
  for (let index = 0; index < task.count; index++) {
    if (index % perTransport === 0) transport = httpsTransport(task.address);
    const { body, status } = await transport.request({
      method: 'GET',
      path: `/api/v1/namespaces/${task.namespace}/pods?watch=true&resourceVersion=${resourceVersion}`,
      headers: { accept: 'application/json' },
    });
    if (status !== 200) throw new Error(`a watch was answered with ${status}`);
    body.setEncoding('utf8');
    body.on('data', (text: string) => {
      const now = performance.timeOrigin + performance.now();
      for (const [, sent] of text.matchAll(mark)) if (times.push(now - Number(sent)) === expected) resolve();
    });
  }
  process.send?.('ready');
  await promise;
  return { latencies: { watch: times } };
}

process.once('message', (task: ClientTask) => {
  const figures = task.kind === 'requests' ? requests(task) : task.kind === 'lists' ? lists(task) : watches(task);
  figures.then(
    (result) => process.send?.(result, () => process.exit(0)),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
