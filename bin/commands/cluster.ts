/** The cluster plank in the foreground: API server, controllers, scheduler and a node, without the platform. */
import { join } from 'node:path';
import { Progress } from '#lib/progress.ts';
import type { ApiFlags } from '../api-flags.ts';
import { endpoints } from '../endpoints.ts';
import { HostError } from '../host-error.ts';
import { type InstanceFlags, readInstance } from '../instance.ts';
import { isReady, type Role, stopRoles } from '../supervise.ts';
import { untilInterrupted } from '../until-interrupted.ts';
import { bringUp } from './up.ts';

const clusterRoles: Role[] = ['server', 'agent'];

export async function cluster(flags: InstanceFlags, api: ApiFlags): Promise<void> {
  const known = readInstance(flags);
  if (known !== undefined && isReady(known, 'platform'))
    throw new HostError(
      'conflict',
      `The instance ${known.name} is up with its platform, and its cluster runs already.`,
      `Use its kubeconfig ${join(known.dataDirectory, 'kubeconfig')}, or give another --name and --data.`,
    );
  const progress = new Progress();
  const instance = await bringUp(flags, progress, { which: clusterRoles, api });
  process.stdout.write(
    `Cluster ready at ${endpoints(instance).kubernetes}\n  export KUBECONFIG=${join(instance.dataDirectory, 'kubeconfig')}\n`,
  );
  await untilInterrupted();
  await progress.step('stopping the cluster', () => stopRoles(instance, clusterRoles));
  process.exit(0);
}
