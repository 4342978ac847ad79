/** Who may come into which instance by ssh. Each attempt by somebody known is an audit event of the app. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { appStatus } from '../resources/instances.ts';
import { type App, labels } from '../resources/types.ts';
import { type SshAccess, SshRefusal } from '../ssh/ssh.ts';
import type { Context } from './api.ts';
import { instancesOf } from './stats.ts';

/** Empty where it is on; else in Cloud Foundry's words. */
export function whySshIsOff(context: Pick<Context, 'records'>, app: Stored<App>): string {
  const space = context.records.spaceOf(app);
  if (!(space?.spec.ssh ?? true)) return `ssh is disabled for space '${space?.spec.displayName}'`;
  return (app.spec.ssh ?? true) ? '' : 'ssh is disabled for app';
}

export function sshAccess(context: Context): SshAccess {
  const { records, access } = context;
  return async (identity, { process: guid, index }) => {
    const process = records.processes.get(guid);
    const app = records.apps.get(process?.spec.app ?? '');
    const space = app && records.spaceOf(app);
    if (!process || !app || !space || !access.readsSpace(identity, space)) {
      throw new SshRefusal(`there is no process ${guid} that they may see`);
    }
    const told = (outcome: 'authorized' | 'unauthorized') =>
      context.audit.record({
        type: `audit.app.ssh-${outcome}`,
        actor: identity,
        target: { guid: app.metadata.name, type: 'app', name: app.spec.displayName },
        space,
        data: { index: String(index) },
      });
    const mayWrite = identity.admin || identity.scopes.includes('cloud_controller.write');
    const off = whySshIsOff(context, app);
    const pod = instancesOf(context, process).get(index);
    const runs = pod !== undefined && appStatus(pod)?.state?.running !== undefined;
    if (!mayWrite || !access.writesSpace(identity, space) || off !== '' || !runs) {
      await told('unauthorized');
      throw new SshRefusal(off || (runs ? 'they may not change the app' : `instance ${index} does not run`));
    }
    const droplet = records.droplets.get(pod.metadata.labels?.[labels.droplet] ?? '');
    await told('authorized');
    return {
      pod: { name: pod.metadata.name, namespace: pod.metadata.namespace ?? '' },
      container: pod.spec?.containers[0]?.name ?? '',
      launcher: droplet?.spec.lifecycle === 'buildpack',
      app: app.metadata.name,
    };
  };
}
