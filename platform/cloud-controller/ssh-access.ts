/** Who may come into which instance by ssh. Each attempt by somebody known is an audit event of the app. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { startsByImage } from '../resources/droplets.ts';
import { appStatus } from '../resources/instances.ts';
import { type App, labels, type Space } from '../resources/types.ts';
import { type SshAccess, SshRefusal } from '../ssh/ssh.ts';
import type { Identity } from '../uaa/uaa.ts';
import type { Context } from './api.ts';
import { CloudFoundryError } from './errors.ts';
import { instancesOf } from './stats.ts';

/** Empty where it is on; else in Cloud Foundry's words. */
export function whySshIsOff(context: Pick<Context, 'records'>, app: Stored<App>): string {
  const space = context.records.spaceOf(app);
  if (!(space?.spec.ssh ?? true)) return `ssh is disabled for space '${space?.spec.displayName}'`;
  return (app.spec.ssh ?? true) ? '' : 'ssh is disabled for app';
}

export function sshAccess(context: Context): SshAccess {
  const { records, access } = context;
  const visits = watchVisits(context);
  return async (identity, { process: guid, index }, gone) => {
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
    const off = whySshIsOff(context, app);
    const mayWrite = mayWriteIn(access, identity, space);
    const pod = instancesOf(context, process).get(index);
    const runs = pod !== undefined && appStatus(pod)?.state?.running !== undefined;
    if (!mayWrite || off !== '' || !runs) {
      await told('unauthorized');
      throw new SshRefusal(off || (runs ? 'they may not change the app' : `instance ${index} does not run`));
    }
    const droplet = records.droplets.get(pod.metadata.labels?.[labels.droplet] ?? '');
    await told('authorized');
    return {
      pod: { name: pod.metadata.name, namespace: pod.metadata.namespace ?? '' },
      container: pod.spec?.containers[0]?.name ?? '',
      launcher: droplet !== undefined && !startsByImage(droplet),
      app: app.metadata.name,
      revoked: visits.follow({ identity, app: app.metadata.name, known: isActive(records, identity) }, gone),
    };
  };
}

interface Visitor {
  identity: Identity;
  /** Guid. */
  app: string;
  /** A user of the platform, when they came. */
  known: boolean;
}

/** Ends visits whose right goes: looks at those that there are whenever something changes that rights come from. */
function watchVisits(context: Context): { follow(visitor: Visitor, gone: AbortSignal): AbortSignal } {
  const { records, access } = context;
  const visits = new Map<AbortController, Visitor>();
  const why = ({ identity, app: guid, known }: Visitor): string => {
    const app = records.apps.get(guid);
    const space = app && records.spaceOf(app);
    if (!app || !space) return 'the app is gone';
    if (known && !isActive(records, identity)) return 'the user is gone';
    return (
      whySshIsOff(context, app) || (mayWriteIn(access, identity, space) ? '' : 'they may no longer change the app')
    );
  };
  const look = (): void => {
    for (const [controller, visitor] of visits) {
      const reason = why(visitor);
      if (reason !== '') controller.abort(new SshRefusal(reason));
    }
  };
  for (const { informer } of [records.roles, records.organizations, records.spaces, records.apps, records.users])
    informer.onChange(() => {
      if (visits.size > 0) look();
    });
  return {
    follow(visitor, gone) {
      const controller = new AbortController();
      const forget = (): void => void visits.delete(controller);
      visits.set(controller, visitor);
      controller.signal.addEventListener('abort', forget, { once: true });
      gone.addEventListener('abort', forget, { once: true });
      if (gone.aborted) forget();
      // Something may have changed while it was told.
      look();
      return controller.signal;
    },
  };
}

function isActive({ users }: Context['records'], { userId }: Identity): boolean {
  return users.get(userId)?.spec.active === true;
}

/** Of an administrator who is one no longer: as of anybody whose scopes change, until the token ends that let them in. */
function mayWriteIn(access: Context['access'], identity: Identity, space: Stored<Space>): boolean {
  if (!identity.admin && !identity.scopes.includes('cloud_controller.write')) return false;
  try {
    return access.writesSpace(identity, space);
  } catch (error) {
    // Of a suspended organization.
    if (error instanceof CloudFoundryError) return false;
    throw error;
  }
}
