/** Brings the ReplicaSets of an app to what the app, its processes and its deployment say. */
import { type App, apps } from '../resources/types.ts';
import { advanceDeployment } from './deployment.ts';
import { activeDeployments, byGuid } from './reading.ts';
import { finish, settle } from './settle.ts';
import type { WorkloadContext } from './workloads.ts';

/** Gives the milliseconds after which to look again, when time alone may change something. */
export async function reconcileApp(context: WorkloadContext, guid: string): Promise<number | undefined> {
  const { informers } = context;
  const app = byGuid<App>(informers, apps, guid);
  // What a deleted app had is collected by its owner references.
  if (!app || app.metadata.deletionTimestamp !== undefined) return undefined;
  const [deployment, ...superseded] = activeDeployments(informers, guid);
  for (const old of superseded) await finish(context, old, { reason: 'SUPERSEDED' });
  if (deployment) {
    if (app.spec.state === 'STOPPED') {
      await finish(context, deployment, { reason: 'CANCELED', error: 'The app was stopped.' });
    } else if (app.spec.generation === deployment.spec.generation) {
      await finish(context, deployment, { reason: 'DEPLOYED' });
    } else if (app.spec.generation > deployment.spec.generation) {
      await finish(context, deployment, { reason: 'SUPERSEDED' });
    } else {
      return advanceDeployment(context, app, deployment);
    }
  }
  await settle(context, app);
  return undefined;
}
