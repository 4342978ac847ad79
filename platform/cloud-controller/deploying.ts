/**
 * The web process that a deployment brings. Cloud Foundry has two web processes until it is over, so that clients show the canary
 * beside what serves; here it is one process in two generations, and the second is shown as another, by the guid of its deployment.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { isActive } from '../resources/deployments.ts';
import { type AppDeployment, labels, type Process } from '../resources/types.ts';
import type { ApiRequest, Context } from './api.ts';
import { notFound } from './errors.ts';
import { processesOf } from './operations/app-create.ts';
import { instancesOf } from './stats.ts';

const WEB = 'web';

/** A process, or what a deployment brings of it. */
export type ShownProcess = Stored<Process> & { brought?: { process: Stored<Process>; by: Stored<AppDeployment> } };

/** What is stored of it. */
export function storedProcess(shown: ShownProcess): Stored<Process> {
  return shown.brought?.process ?? shown;
}

/** One that has turned its app is over, whatever its status says yet. */
function hasTurned({ records }: Context, { spec }: AppDeployment): boolean {
  return (records.apps.get(spec.app)?.spec.generation ?? 0) >= spec.generation;
}

/** The newest of an app that is under way. */
function deploymentOf(context: Context, app: string): Stored<AppDeployment> | undefined {
  const all = context.records.deployments.ofApp(app).filter((one) => isActive(one) && !hasTurned(context, one));
  return all.sort((a, b) => b.spec.generation - a.spec.generation)[0];
}

function brought(process: Stored<Process>, by: Stored<AppDeployment>): ShownProcess {
  return { ...process, metadata: by.metadata, brought: { process, by } };
}

/** Each, and behind it what is being brought of it. */
export function withBrought(context: Context, processes: Stored<Process>[]): ShownProcess[] {
  const apps = new Set(context.records.deployments.all().flatMap((one) => (isActive(one) ? one.spec.app : [])));
  return processes.flatMap((process): ShownProcess[] => {
    const { app, type } = process.spec;
    const deployment = type === WEB && apps.has(app) ? deploymentOf(context, app) : undefined;
    return deployment === undefined ? [process] : [process, brought(process, deployment)];
  });
}

/** What a deployment brings, or has brought: of workers, the processes themselves. */
export function broughtProcesses(context: Context, deployment: Stored<AppDeployment>): ShownProcess[] {
  const isThere = isActive(deployment) && !hasTurned(context, deployment);
  return processesOf(context, deployment.spec.app).map((process) =>
    isThere && process.spec.type === WEB ? brought(process, deployment) : process,
  );
}

/** What was brought to its end is the process itself. */
export function readProcess(context: Context, { identity }: Pick<ApiRequest, 'identity'>, guid: string): ShownProcess {
  const { records, access } = context;
  const deployment = records.deployments.get(guid);
  const web = deployment && processesOf(context, deployment.spec.app).find(({ spec }) => spec.type === WEB);
  const process = access.read(identity, records.processes, web?.metadata.name ?? guid, 'Process');
  if (!deployment || deployment.status?.reason === 'DEPLOYED') return process;
  if (!isActive(deployment)) throw notFound('Process');
  return hasTurned(context, deployment) ? process : brought(process, deployment);
}

/**
 * The pod of each instance that there is or should be, by index. While something is brought of a process, both have those that there
 * are, as how many there should be changes all the time.
 */
export function shownInstances(context: Context, shown: ShownProcess): Map<number, Stored<Pod> | undefined> {
  const deployment = shown.brought?.by ?? (shown.spec.type === WEB ? deploymentOf(context, shown.spec.app) : undefined);
  if (!deployment) {
    const pods = instancesOf(context, shown);
    return new Map(Array.from({ length: shown.spec.instances }, (_, index) => [index, pods.get(index)]));
  }
  const generation = String(deployment.spec.generation);
  const isMeant = ({ metadata }: Stored<Pod>) =>
    (metadata.labels?.[labels.generation] === generation) === (shown.brought !== undefined) &&
    metadata.deletionTimestamp === undefined;
  return new Map([...instancesOf(context, storedProcess(shown), isMeant)].sort(([a], [b]) => a - b));
}
