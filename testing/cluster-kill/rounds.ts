/**
 * Rounds of: a cluster whose workloads are churned by clients that insist on their answers, `kill -9` of one of its processes at a
 * random moment, and, every few rounds, peace: the cluster comes to what its clients were told, Services answer, and the node has
 * what that needs and nothing besides.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { persistentVolumes } from '#cluster/kinds/resources.ts';
import { noTraces, tracesOf } from '../leftovers.ts';
import { Random } from '../kill/random.ts';
import { until } from '../platform.ts';
import { ClusterUnderFire, type Killed, signal } from './cluster.ts';
import { Desired } from './desired.ts';
import { configLane, deploymentLane, jobLane, type LaneOptions, statefulSetLane } from './lanes.ts';
import { nodeDifferences } from './node-agreement.ts';
import { servicesAnswer, settled } from './settle.ts';
import { apiWriter, kubectlWriter } from './writer.ts';

export interface ClusterKillRounds {
  rounds: number;
  /** Rounds between two times of peace. */
  peaceEvery: number;
  /** The moments are not the same with the same seed, since the machine's are not; what is asked for, and what is killed, is. */
  seed: number;
  report: (line: string) => void;
}

/** Milliseconds of work before a kill, at most. */
const LONGEST_WORK = 2500;
/** From a kill to the one that hits what comes up after it. */
const LONGEST_START = 1500;

export async function clusterKillRounds({ rounds, peaceEvery, seed, report }: ClusterKillRounds): Promise<void> {
  const random = new Random(seed);
  report(`seed ${seed}: SAMPAN_KILL_SEED=${seed} does the same again`);
  const cluster = await ClusterUnderFire.open('fire');
  const { name, runDirectory } = cluster.instance;
  const marks = [cluster.dataDirectory, `${runDirectory}/`, `sampan-${name}-`, `sampan-keeper-${name}-`];
  const desired = new Desired();
  let given = 0;
  const fresh = (): number => given++;
  try {
    for (let round = 0; round < rounds; round += peaceEvery) {
      const count = Math.min(peaceEvery, rounds - round);
      const kills = await war(cluster, desired, { random, count, fresh });
      await peace(cluster, desired, `rounds ${round} to ${round + count - 1} of seed ${seed} (${kills.join(', ')})`);
      report(`${round + count} rounds: ${kills.join(', ')}`);
    }
  } finally {
    await cluster.close();
  }
  assert.deepEqual(tracesOf(name, marks), noTraces);
}

/** @returns what was killed */
async function war(
  cluster: ClusterUnderFire,
  desired: Desired,
  { random, count, fresh }: { random: Random; count: number; fresh: () => number },
): Promise<string[]> {
  const stop = new AbortController();
  const writers = [apiWriter(cluster), apiWriter(cluster), kubectlWriter(cluster)] as const;
  const lane = (prefix: string): LaneOptions => ({
    desired,
    writers,
    prefix,
    fresh,
    random: new Random(random.below(2 ** 32)),
    signal: stop.signal,
  });
  const lanes = Promise.all([
    deploymentLane(lane('d-')),
    statefulSetLane(lane('s-')),
    jobLane(lane('j-')),
    configLane(lane('c-')),
  ]);
  const kills: string[] = [];
  const strike = async (): Promise<void> => {
    await delay(random.below(LONGEST_WORK));
    kills.push(await kill(cluster, random));
    await cluster.ready();
  };
  try {
    // A lane that fails ends the wait, so that its reason is told.
    for (let round = 0; round < count; round += 1) await Promise.race([lanes, strike()]);
  } finally {
    stop.abort();
    await lanes.catch(() => undefined);
  }
  await lanes;
  return kills;
}

async function kill(cluster: ClusterUnderFire, random: Random): Promise<string> {
  const one = random.of<Killed>(['server', 'agent']);
  switch (random.below(8)) {
    case 0:
    case 1:
      await cluster.kill(one);
      return one;
    case 2:
      await Promise.all([cluster.kill('server'), cluster.kill('agent')]);
      return 'both';
    case 3: {
      await cluster.kill(one);
      await delay(random.below(LONGEST_START));
      await cluster.kill(one);
      return `${one} twice`;
    }
    case 4: {
      await cluster.kill('server');
      await delay(random.below(LONGEST_START));
      await cluster.kill('agent');
      return 'server, then agent';
    }
    case 5:
      await cluster.killWithKeepers();
      await cluster.up();
      return 'both and their keepers';
    case 6:
      return killOne('monitor', () => cluster.contained().monitors, random);
    default:
      return killOne('container', () => cluster.contained().processes, random);
  }
}

/** The lanes ask for pods all the time: there is one sooner or later. */
async function killOne(what: string, all: () => readonly number[], random: Random): Promise<string> {
  const chosen = random.below(1000);
  const one = async (): Promise<number | undefined> => {
    const pids = all();
    return pids[chosen % pids.length];
  };
  signal(await until(`a ${what} to be there`, one, 240));
  return what;
}

async function peace(cluster: ClusterUnderFire, desired: Desired, what: string): Promise<void> {
  const { client } = cluster;
  const pods = await settled(client, desired).catch((error: unknown) => {
    throw new Error(`${what}:\n${cluster.logTail()}`, { cause: error });
  });
  await servicesAnswer(client, desired, pods);
  const volumes = (await client.list(persistentVolumes)).items;
  await cluster.killWithKeepers();
  assert.deepEqual(await nodeDifferences(cluster, { pods, volumes }), [], what);
  await cluster.up();
}
