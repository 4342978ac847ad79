/** What of the API's objects is not as it is wanted, a line each. */
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import {
  configMaps,
  deployments,
  endpointSlices,
  jobs,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  replicaSets,
  services,
  statefulSets,
} from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { type Desired, type Replicated, TURN } from './desired.ts';
import { namespace } from './writer.ts';

interface Named {
  metadata: { name: string };
}

type Objects = Awaited<ReturnType<typeof objectsOf>>;

interface Look {
  all: Objects;
  desired: Desired;
  check: (isSo: boolean, what: string) => void;
}

export async function differences(client: Client, desired: Desired): Promise<string[]> {
  const complaints: string[] = [];
  const look: Look = {
    all: await objectsOf(client),
    desired,
    check: (isSo, what) => void (isSo || complaints.push(what)),
  };
  look.check(look.all.nodes.every(isReady), 'the node is not ready');
  compareDeployments(look);
  compareStatefulSets(look);
  compareJobs(look);
  compareServices(look);
  compareConfigMaps(look);
  for (const pod of look.all.pods) {
    const app = pod.metadata.labels?.['app'] ?? '';
    const isWanted = [desired.deployments, desired.statefulSets, desired.jobs].some((some) => some.has(app));
    look.check(isWanted, `pod ${pod.metadata.name} is there, and ${stateOf(pod)}`);
  }
  return complaints;
}

function compareNames(
  { check }: Look,
  what: string,
  found: readonly Named[],
  wanted: ReadonlyMap<string, unknown>,
): void {
  const names = new Set(found.map(({ metadata }) => metadata.name));
  for (const name of names) check(wanted.has(name), `${what} ${name} is there`);
  for (const name of wanted.keys()) check(names.has(name), `${what} ${name} is not there`);
}

function comparePods({ all, check }: Look, what: string, name: string, { replicas, turn }: Replicated): void {
  const own = podsOf(all, name);
  check(own.length === replicas, `${what} has ${own.length} pods, not ${replicas}`);
  for (const pod of own) {
    check(isReady(pod), `${what}: ${pod.metadata.name} is ${stateOf(pod)}`);
    check(pod.metadata.annotations?.[TURN] === turn, `${what}: ${pod.metadata.name} is of another template`);
  }
}

function compareDeployments(look: Look): void {
  const { all, desired, check } = look;
  compareNames(look, 'deployment', all.deployments, desired.deployments);
  for (const { metadata, spec, status } of all.deployments) {
    const wanted = desired.deployments.get(metadata.name);
    if (wanted === undefined) continue;
    const { replicas, turn } = wanted;
    const what = `deployment ${metadata.name}`;
    check(spec?.replicas === replicas, `${what} has ${spec?.replicas} replicas, ${replicas} were asked for`);
    check(metadata.annotations?.[TURN] === turn, `${what} is of turn ${metadata.annotations?.[TURN]}, not ${turn}`);
    comparePods(look, what, metadata.name, wanted);
    check(status?.observedGeneration === metadata.generation, `${what}: its newest generation was not observed`);
    check((status?.availableReplicas ?? 0) === replicas, `${what} says ${status?.availableReplicas} available`);
    check((status?.updatedReplicas ?? 0) === replicas, `${what} says ${status?.updatedReplicas} updated`);
  }
  for (const { metadata, spec } of all.replicaSets) {
    const owner = metadata.ownerReferences?.find(({ controller }) => controller);
    const wanted = desired.deployments.get(owner?.name ?? '');
    check(wanted !== undefined, `replica set ${metadata.name} is there`);
    const isCurrent = spec?.template?.metadata?.annotations?.[TURN] === wanted?.turn;
    check(isCurrent || spec?.replicas === 0, `replica set ${metadata.name}, an older one, has ${spec?.replicas}`);
  }
}

function compareStatefulSets(look: Look): void {
  const { all, desired, check } = look;
  compareNames(look, 'stateful set', all.statefulSets, desired.statefulSets);
  for (const { metadata, spec, status } of all.statefulSets) {
    const wanted = desired.statefulSets.get(metadata.name);
    if (wanted === undefined) continue;
    const { replicas } = wanted;
    const what = `stateful set ${metadata.name}`;
    check(spec?.replicas === replicas, `${what} has ${spec?.replicas} replicas, ${replicas} were asked for`);
    comparePods(look, what, metadata.name, wanted);
    check((status?.readyReplicas ?? 0) === replicas, `${what} says ${status?.readyReplicas} ready`);
  }
  const claims = [...desired.statefulSets].flatMap(([name, { replicas }]) =>
    Array.from({ length: replicas }, (_, ordinal) => `data-${name}-${ordinal}`),
  );
  compareNames(look, 'claim', all.claims, new Map(claims.map((name) => [name, true])));
  check(all.volumes.length === claims.length, `there are ${all.volumes.length} volumes, not ${claims.length}`);
}

function compareJobs(look: Look): void {
  const { all, desired, check } = look;
  compareNames(look, 'job', all.jobs, desired.jobs);
  for (const { metadata, spec, status } of all.jobs) {
    const completions = desired.jobs.get(metadata.name);
    if (completions === undefined) continue;
    const what = `job ${metadata.name}`;
    const own = podsOf(all, metadata.name);
    const succeeded = own.filter((pod) => pod.status?.phase === 'Succeeded').length;
    check(spec?.completions === completions, `${what} wants ${spec?.completions}, ${completions} were asked for`);
    check(status?.conditions?.some(({ type }) => type === 'Complete') === true, `${what} is not complete`);
    check((status?.succeeded ?? 0) === completions, `${what} counted ${status?.succeeded}, not ${completions}`);
    check(succeeded === completions, `${what} has ${succeeded} pods that ended well, not ${completions}`);
    for (const pod of own) {
      const hasEnded = /^(Succeeded|Failed)$/.test(pod.status?.phase ?? '');
      check(hasEnded && (pod.metadata.finalizers ?? []).length === 0, `${what}: ${pod.metadata.name} ${stateOf(pod)}`);
    }
  }
}

function compareServices(look: Look): void {
  const { all, desired, check } = look;
  const theirs = all.services.filter(({ metadata }) => metadata.name !== 'kubernetes');
  compareNames(look, 'service', theirs, desired.services);
  const serviceOf = ({ metadata }: (typeof all.slices)[number]): string =>
    metadata.labels?.['kubernetes.io/service-name'] ?? '';
  for (const [name, app] of desired.services) {
    const found = all.slices
      .filter((slice) => serviceOf(slice) === name)
      .flatMap(({ endpoints }) => endpoints.flatMap((one) => (one.conditions?.ready === false ? [] : one.addresses)))
      .toSorted()
      .join();
    const wanted = podsOf(all, app)
      .map(({ status }) => status?.podIP)
      .toSorted()
      .join();
    check(found === wanted, `service ${name} leads to ${found || 'nobody'}, not to ${wanted || 'nobody'}`);
  }
  for (const slice of all.slices) {
    const name = serviceOf(slice);
    check(name === 'kubernetes' || desired.services.has(name), `endpoint slice ${slice.metadata.name} is there`);
  }
}

function compareConfigMaps(look: Look): void {
  const { all, desired, check } = look;
  const theirs = all.configMaps.filter(({ metadata }) => metadata.name !== 'kube-root-ca.crt');
  compareNames(look, 'config map', theirs, desired.configMaps);
  for (const { metadata, data } of theirs) {
    const wanted = desired.configMaps.get(metadata.name);
    const value = data?.['value'];
    check(wanted === undefined || value === wanted, `config map ${metadata.name} has ${value}, not ${wanted}`);
  }
}

async function objectsOf(client: Client) {
  const own = { namespace };
  const list = async <T>(answer: Promise<{ items: T[] }>): Promise<T[]> => (await answer).items;
  return {
    nodes: await list(client.list(nodes)),
    pods: await list(client.list(pods, own)),
    deployments: await list(client.list(deployments, own)),
    replicaSets: await list(client.list(replicaSets, own)),
    statefulSets: await list(client.list(statefulSets, own)),
    jobs: await list(client.list(jobs, own)),
    claims: await list(client.list(persistentVolumeClaims, own)),
    volumes: await list(client.list(persistentVolumes)),
    services: await list(client.list(services, own)),
    slices: await list(client.list(endpointSlices, own)),
    configMaps: await list(client.list(configMaps, own)),
  };
}

function podsOf({ pods: all }: Objects, app: string): Stored<Pod>[] {
  return all.filter(({ metadata }) => metadata.labels?.['app'] === app);
}

function isReady({ metadata, status }: Pick<Stored<Pod>, 'metadata'> & { status?: Pod['status'] }): boolean {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  return metadata.deletionTimestamp === undefined && ready === 'True';
}

function stateOf({ metadata, status }: Stored<Pod>): string {
  const containers = status?.containerStatuses?.map(({ state, restartCount }) => ({ state, restartCount }));
  const { phase, reason } = status ?? {};
  return JSON.stringify({ deleted: metadata.deletionTimestamp, phase, reason, containers });
}
