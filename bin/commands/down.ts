import { rmSync } from 'node:fs';
import { killNaming } from '#engine/containers/recovery.ts';
import { purgeEngine, stopContainers } from '#engine/open.ts';
import { stopBusServer } from '#platform/bus/server.ts';
import { workingBelow } from '#platform/staging/stack/mmdebstrap.ts';
import { stopProxy } from '#platform/router/open.ts';
import { engineOptions } from '../engine-options.ts';
import { removeNodeNetwork } from '../node-network.ts';
import { HostError } from '../host-error.ts';
import { type InstanceFlags, instanceDirectories, readInstance } from '../instance.ts';
import { lockInstance } from '../instance-lock.ts';
import { requireRoot } from '../preflight.ts';
import { Progress } from '#lib/progress.ts';
import { busDirectory } from '../secrets.ts';
import { removeState } from '../store/open.ts';
import { stopRoles } from '../supervise.ts';

/** Of those that were killed the last ones may not be gone yet. */
const removal = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };

/** Stops everything of an instance; with `purge` also removes everything that it keeps. Idempotent. */
export async function down(flags: InstanceFlags, options: { purge?: boolean }): Promise<void> {
  requireRoot('Stopping the platform');
  const release = await lockInstance(flags);
  try {
    await takeDown(flags, options);
  } finally {
    release();
  }
}

async function takeDown(flags: InstanceFlags, options: { purge?: boolean }): Promise<void> {
  const progress = new Progress();
  const instance = readInstance(flags);
  if (!instance) {
    const { name, dataDirectory, runDirectory } = instanceDirectories(flags);
    if (!options.purge)
      throw new HostError(
        'no-instance',
        `There is no Sampan instance ${JSON.stringify(name)} in ${dataDirectory}.`,
        'Nothing to stop.',
      );
    rmSync(runDirectory, { recursive: true, force: true });
    return;
  }
  await progress.step('stopping the platform', async () => {
    await stopRoles(instance);
    await killNaming(workingBelow(`${instance.dataDirectory}/platform`));
  });
  await progress.step('stopping the router', () =>
    stopProxy({
      instance: instance.name,
      dataDirectory: `${instance.dataDirectory}/router`,
      runDirectory: `${instance.runDirectory}/router`,
    }),
  );
  await progress.step('stopping the message bus', () =>
    stopBusServer({ instance: instance.name, dataDirectory: busDirectory(instance) }),
  );
  await progress.step('stopping the apps', () =>
    options.purge ? purgeEngine(engineOptions(instance)) : stopContainers(engineOptions(instance)),
  );
  await progress.step('removing the rules of the network', () => removeNodeNetwork(instance.name));
  rmSync(instance.runDirectory, { recursive: true, force: true });
  if (!options.purge) return;
  const { store } = instance;
  if (store !== undefined) await progress.step('removing the state from etcd', () => removeState(instance, store));
  await progress.step('removing what was kept', () => rmSync(instance.dataDirectory, removal));
}
