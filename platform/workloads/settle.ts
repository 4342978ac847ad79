/** The state between deployments, and how a deployment ends. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, type AppDeployment, appDeployments, type Revision, revisions } from '../resources/types.ts';
import { byGuid, generationOf, processesOf, replicaSetsOf } from './reading.ts';
import { ensureReplicaSet, retire } from './replica-sets.ts';
import type { WorkloadContext } from './workloads.ts';

/** No deployment under way: the app's own generation runs whole, and nothing else does. */
export async function settle(context: WorkloadContext, app: Stored<App>): Promise<void> {
  const { currentDroplet, currentRevision, generation } = app.spec;
  const processes = processesOf(context.informers, app.metadata.name);
  const runs = app.spec.state === 'STARTED' && currentDroplet !== undefined && currentRevision !== undefined;
  for (const set of replicaSetsOf(context.informers, app.metadata.name)) {
    if (runs && generationOf(set) === generation) continue;
    await retire(context, set);
  }
  if (!runs) return;
  for (const process of processes) {
    // The droplet may have been changed since the start: the revision says what this generation runs.
    const version = { generation, droplet: dropletOf(context, app), revision: currentRevision };
    await ensureReplicaSet(context, app, process, version, process.spec.instances);
  }
}

function dropletOf(context: WorkloadContext, app: Stored<App>): string {
  const revision = byGuid<Revision>(context.informers, revisions, app.spec.currentRevision);
  return revision?.spec.droplet ?? app.spec.currentDroplet ?? '';
}

export async function finish(
  context: WorkloadContext,
  deployment: Stored<AppDeployment>,
  end: { reason: 'DEPLOYED' | 'CANCELED' | 'SUPERSEDED'; error?: string },
): Promise<void> {
  const { client } = context.informers;
  const now = new Date(context.now()).toISOString();
  const stored = await client.updateStatus(appDeployments, {
    ...deployment,
    status: {
      ...deployment.status,
      value: 'FINALIZED',
      reason: end.reason,
      lastStatusChange: now,
      ...(end.error === undefined ? {} : { error: end.error }),
    },
  });
  await context.informers
    .of(appDeployments)
    .reached(stored.metadata.resourceVersion, AbortSignal.any([context.signal, AbortSignal.timeout(10_000)]));
  const verb = { DEPLOYED: 'succeeded', CANCELED: 'was cancelled', SUPERSEDED: 'was superseded' }[end.reason];
  context.logs.emit({
    sourceId: deployment.spec.app,
    sourceType: 'API',
    type: end.error === undefined ? 'OUT' : 'ERR',
    message: `Deployment ${deployment.metadata.name} ${verb}${end.error === undefined ? '' : `: ${end.error}`}`,
  });
}
