/** Lanes of work on one cluster, each on objects of its own, until they are told to stop. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../kill/random.ts';
import { configMap, type Desired, deployment, job, type Replicated, service, statefulSet } from './desired.ts';
import type { Writer } from './writer.ts';

export interface LaneOptions {
  desired: Desired;
  random: Random;
  /** Each step takes one of them. */
  writers: readonly [Writer, ...Writer[]];
  /** Begins the names of what this lane makes. */
  prefix: string;
  /** A number that was not given before: names are used once, since what was deleted may still be going. */
  fresh: () => number;
  signal: AbortSignal;
}

/** At most, between two steps: what is asked for shall get somewhere before the next thing is asked for. */
const LONGEST_PAUSE = 600;

/** A lane that is told to stop finishes its step: what it asked for is answered. */
async function steps({ signal, random, writers }: LaneOptions, step: (writer: Writer) => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await step(random.of(writers));
    await delay(random.below(LONGEST_PAUSE), undefined, { signal }).catch(() => undefined);
  }
}

/** Deployments that are rolled, scaled and deleted, with a Service each that comes and goes. */
export async function deploymentLane(options: LaneOptions): Promise<void> {
  const { desired, random, prefix, fresh } = options;
  await steps(options, async (writer) => {
    const name = pick(desired.deployments, options, 2) ?? `${prefix}${fresh()}`;
    const known = desired.deployments.get(name);
    const web = `${name}-web`;
    // What is applied names no field of another strategy's, and takes none away.
    const strategy = Number(name.slice(prefix.length)) % 2 === 0 ? 'Recreate' : 'RollingUpdate';
    switch (known === undefined ? 0 : random.below(5)) {
      case 0: {
        const wanted = { replicas: 1 + random.below(2), turn: `${fresh()}` };
        await writer.apply(deployment(name, wanted, strategy));
        desired.deployments.set(name, wanted);
        return;
      }
      case 1:
      case 2: {
        const replicas = random.below(4);
        await writer.scale('deployment', name, replicas);
        desired.deployments.set(name, { ...(known as Replicated), replicas });
        return;
      }
      case 3:
        if (desired.services.has(web)) {
          await writer.remove('Service', web, 'background');
          desired.services.delete(web);
        } else {
          await writer.apply(service(web, name));
          desired.services.set(web, name);
        }
        return;
      default:
        if (!random.onceIn(3)) return;
        await writer.remove('Deployment', name, random.of(['foreground', 'background']));
        desired.deployments.delete(name);
        if (!desired.services.delete(web)) return;
        await writer.remove('Service', web, 'background');
    }
  });
}

export async function statefulSetLane(options: LaneOptions): Promise<void> {
  const { desired, random, prefix, fresh } = options;
  await steps(options, async (writer) => {
    const name = pick(desired.statefulSets, options, 1) ?? `${prefix}${fresh()}`;
    const known = desired.statefulSets.get(name);
    // Of a set that is there it cannot change.
    const policy = Number(name.slice(prefix.length)) % 2 === 0 ? 'Parallel' : 'OrderedReady';
    switch (known === undefined ? 0 : random.below(4)) {
      case 0: {
        const wanted = { replicas: known?.replicas ?? 1 + random.below(2), turn: `${fresh()}` };
        await writer.apply(statefulSet(name, wanted, policy));
        desired.statefulSets.set(name, wanted);
        return;
      }
      case 1:
      case 2: {
        const replicas = random.below(3);
        await writer.scale('statefulset', name, replicas);
        desired.statefulSets.set(name, { ...(known as Replicated), replicas });
        return;
      }
      default:
        if (!random.onceIn(3)) return;
        await writer.remove('StatefulSet', name, random.of(['foreground', 'background']));
        desired.statefulSets.delete(name);
    }
  });
}

export async function jobLane(options: LaneOptions): Promise<void> {
  const { desired, random, prefix, fresh } = options;
  await steps(options, async (writer) => {
    const known = pick(desired.jobs, options, 3);
    if (known === undefined) {
      const name = `${prefix}${fresh()}`;
      const completions = 1 + random.below(3);
      await writer.apply(job(name, completions));
      desired.jobs.set(name, completions);
    } else if (random.onceIn(2)) {
      await writer.remove('Job', known, random.of(['foreground', 'background']));
      desired.jobs.delete(known);
    }
  });
}

/** One that pods mount, and some more: writes that no controller has a part in. */
export async function configLane(options: LaneOptions): Promise<void> {
  const { desired, random, prefix, fresh } = options;
  await steps(options, async (writer) => {
    const name = random.onceIn(3) ? 'settings' : `${prefix}${random.below(5)}`;
    if (name !== 'settings' && desired.configMaps.has(name) && random.onceIn(2)) {
      await writer.remove('ConfigMap', name, 'background');
      desired.configMaps.delete(name);
    } else {
      const value = `${fresh()}`;
      await writer.apply(configMap(name, value));
      desired.configMaps.set(name, value);
    }
  });
}

/** One of the lane's own, or undefined: then it makes another. It has so many at most. */
function pick(all: ReadonlyMap<string, unknown>, { random, prefix }: LaneOptions, most: number): string | undefined {
  const own = [...all.keys()].filter((name) => name.startsWith(prefix));
  const chosen = random.below(most);
  return own[chosen];
}
