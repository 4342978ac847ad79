/** A droplet of an app on the stack that there is now; it runs when it is deployed, and the old one stays for a rollback. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { startsByImage } from '../../resources/droplets.ts';
import { type App, type Droplet, labels } from '../../resources/types.ts';
import { StagingError } from '../../staging/staging.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { dropletState } from '../present/apps.ts';
import { ownedBy } from '../records.ts';
import { record } from './app-lifecycle.ts';
import { uploadProblem } from './upload.ts';

/** `made` is false where the current one is on the newest stack already. */
export async function rebaseApp(
  context: Context,
  identity: Identity,
  app: Stored<App>,
): Promise<{ made: boolean; droplet: Stored<Droplet> }> {
  const { records, staging } = context;
  const current = records.droplets.get(app.spec.currentDroplet ?? '');
  if (!current || dropletState(current) !== 'STAGED') throw unprocessable('The app has no droplet: push it first.');
  if (startsByImage(current))
    throw unprocessable('The app is an image of its own, and not on the stack: build it again, or push a newer image.');
  const guid = randomUUID();
  const made = await staging.droplets.rebase({ image: current.spec.image, droplet: guid }).catch((error: unknown) => {
    if (error instanceof StagingError && error.code === 'not-rebasable')
      throw unprocessable(`The app cannot be rebased: ${error.message}.`);
    throw uploadProblem(error);
  });
  if (made === undefined) return { made: false, droplet: current };
  const { build: _build, ...kept } = current.spec;
  await records.droplets.create({
    metadata: {
      name: guid,
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name },
      ownerReferences: ownedBy(app),
    },
    spec: { ...kept, image: made.image },
  });
  const { checksum, sizeBytes } = made;
  const droplet = await records.droplets.modifyStatus(guid, (now) => ({
    ...now,
    status: { state: 'STAGED', checksum, sizeBytes },
  }));
  const data = { droplet_guid: guid, request: { source_droplet_guid: current.metadata.name } };
  await record(context, identity, app, 'audit.app.droplet.create', data);
  return { made: true, droplet };
}
