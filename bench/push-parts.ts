/**
 * Where the time of `bench push` goes, seen from outside: when the client says what, when the objects of the push change as a
 * watch tells it, and when the new version first answers. Milliseconds since the command was started, medians.
 */
import { spawn } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from '#cluster/client/create.ts';
import type { ClientObject, Informer } from '#cluster/client/client.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { createInformer } from '#cluster/client/informer.ts';
import { readKubeconfig } from '#cluster/client/kubeconfig.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import { endpointSlices } from '#cluster/kinds/resources.ts';
import { pods, replicaSets } from '#platform/resources/kubernetes.ts';
import { appDeployments, builds, droplets, packages, revisions } from '#platform/resources/types.ts';
import { TestPlatform } from '#testing/platform.ts';
import { untilAnswer } from './first-answer.ts';
import { type Row, median } from './row.ts';

const rounds = 9;
const example = join(import.meta.dirname, '..', 'examples', 'web-express');

/** First times of one push, by name. */
class Marks {
  #begun = 0;
  #times = new Map<string, number>();
  readonly all = new Map<string, number[]>();

  begin(): void {
    this.#begun = performance.now();
    this.#times = new Map();
  }

  set(name: string): void {
    if (this.#begun > 0 && !this.#times.has(name)) this.#times.set(name, performance.now() - this.#begun);
  }

  end(): void {
    this.#begun = 0;
    for (const [name, time] of this.#times) this.all.set(name, [...(this.all.get(name) ?? []), time]);
  }
}

export async function run(): Promise<Row[]> {
  const platform = new TestPlatform('bench-parts');
  const source = join(platform.directory, 'app');
  const marks = new Marks();
  const closes: (() => void)[] = [];
  try {
    await cp(example, source, { recursive: true });
    await platform.must('up');
    const words = ['push', '-p', source, '-f', join(source, 'manifest.yml')];
    await platform.must(...words);
    closes.push(await follow(platform, marks));
    for (let round = 0; round < rounds; round++) {
      await mkdir(join(source, 'public'), { recursive: true });
      await writeFile(join(source, 'public', 'version.txt'), `${round}\n`);
      marks.begin();
      const pushed = push(platform, marks, words);
      const { http } = platform.instance.ports;
      const ready = (body: string): boolean => body === `${round}\n`;
      const first = untilAnswer({ port: http, host: platform.host('web-express'), path: '/version.txt', ready });
      await Promise.all([pushed, first.then(() => marks.set('first 200'))]);
      marks.set('the command has ended');
      marks.end();
    }
    return [...marks.all]
      .map(([what, times]) => ({ what, unit: 'ms', ours: median(times.slice(2)), goal: '' }))
      .sort((left, right) => left.ours - right.ours);
  } finally {
    for (const close of closes) close();
    await platform.purge();
  }
}

async function push(platform: TestPlatform, marks: Marks, words: string[]): Promise<void> {
  const [program = '', ...rest] = platform.command(...words);
  const child = spawn(program, rest, { env: platform.environment, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    said += part;
    for (const line of part.split('\n')) {
      const name = /^(Pushing app|✓ [\w ]+)/.exec(line)?.[1];
      if (name) marks.set(`client: ${name.replace('✓ ', '').trim()}`);
    }
  });
  const code = await new Promise((done) => child.once('close', done));
  if (code !== 0) throw new Error(said);
}

/** Marks what happens to the objects of the platform and of the cluster. */
async function follow(platform: TestPlatform, marks: Marks): Promise<() => void> {
  const { transport } = await readKubeconfig(join(platform.dataDirectory, 'kubeconfig'));
  const client = createClient(httpsTransport(transport));
  const informers: Informer<ClientObject>[] = [];
  const on = async <T extends ClientObject>(
    resource: TypedResource<T>,
    look: (now: Stored<T>, isNew: boolean) => void,
  ): Promise<void> => {
    const informer = createInformer(client, resource);
    informers.push(informer as unknown as Informer<ClientObject>);
    await informer.synced;
    informer.onChange((now, old) => now && look(now, old === undefined));
  };
  const fresh = new Set<string>();
  await Promise.all([
    on(packages, (item) => marks.set(item.status?.state === 'READY' ? 'package: ready' : 'package: created')),
    on(builds, (build) => marks.set(build.status?.state === 'STAGED' ? 'build: staged' : 'build: created')),
    on(droplets, (_, isNew) => isNew && marks.set('droplet: created')),
    on(revisions, (_, isNew) => isNew && marks.set('revision: created')),
    on(appDeployments, ({ status }, isNew) => {
      if (isNew) marks.set('deployment: created');
      if (status?.value === 'FINALIZED') marks.set('deployment: over');
    }),
    on(replicaSets, (_, isNew) => isNew && marks.set('replica set: created')),
    on(pods, (pod, isNew) => {
      if (isNew) fresh.add(pod.metadata.uid);
      if (isNew) marks.set('pod: created');
      if (!fresh.has(pod.metadata.uid) || pod.metadata.deletionTimestamp !== undefined) return;
      if (!pod.spec?.schedulingGates?.length) marks.set('pod: has its index');
      if (pod.spec?.nodeName) marks.set('pod: bound');
      const { containerStatuses = [], conditions = [] } = pod.status ?? {};
      if (containerStatuses.some(({ state }) => state?.running)) marks.set('pod: runs');
      if (conditions.some(({ type, status }) => type === 'Ready' && status === 'True')) {
        marks.set('pod: ready');
        fresh.delete(pod.metadata.uid);
      }
    }),
    on(endpointSlices, ({ endpoints = [] }) => {
      if (endpoints.filter(({ conditions }) => conditions?.ready === true).length > 1) marks.set('endpoint: ready');
    }),
  ]);
  return () => {
    for (const informer of informers) informer.close();
  };
}
