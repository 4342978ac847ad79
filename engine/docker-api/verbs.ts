/** Pause, unpause, rename and update. */
import type { Limits } from '../engine.ts';
import { Fields, readBody } from './body.ts';
import { answerEmpty, answerJson, type Call, findContainer } from './call.ts';
import { containerName } from './container-view.ts';
import { checkName, identityOf } from './docker-containers.ts';
import { DockerError } from './errors.ts';
import { readLimits } from './limits-request.ts';
import { restartPolicy } from './create-request.ts';
import { SETTINGS_LABEL, settingsOf } from './settings.ts';

export async function pauseContainer(call: Call): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  call.docker.requireOwn(container, 'pause');
  if (call.docker.isRestarting(container.id))
    throw new DockerError(409, `Container ${container.id} is restarting, wait until the container is running`);
  await call.engine.pauseContainer(container.id);
  answerEmpty(call);
}

export async function unpauseContainer(call: Call): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  call.docker.requireOwn(container, 'unpause');
  await call.engine.unpauseContainer(container.id);
  answerEmpty(call);
}

export async function renameContainer(call: Call): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  call.docker.requireOwn(container, 'rename');
  const name = (call.query.get('name') ?? '').replace(/^\//, '');
  const oldName = containerName(container);
  if (name === '') throw new DockerError(400, 'Neither old nor new names may be empty');
  if (name === oldName) throw new DockerError(400, 'Renaming a container with the same name as its current name');
  checkName(name);
  try {
    await call.docker.withName(name, container.id, async () => await call.engine.renameContainer(container.id, name));
  } catch (error) {
    if (!(error instanceof DockerError)) throw error;
    throw new DockerError(error.status, `Error when allocating new name: ${error.message}`, { cause: error });
  }
  const renamed = call.engine.container(container.id) ?? container;
  await call.docker.networks.renamed(renamed, identityOf(renamed));
  call.docker.happenings.about(renamed, 'rename', { oldName: `/${oldName}` });
  answerEmpty(call);
}

export async function updateContainer(call: Call): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  const settings = call.docker.requireOwn(container, 'update');
  const fields = new Fields(await readBody(call));
  const { limits, warnings } = readLimits(fields, call.engine, container.spec.limits);
  const changesPolicy = fields.object('RestartPolicy').text('Name') !== '';
  const restart = changesPolicy ? restartPolicy(fields) : settings.restart;
  if (settings.autoRemove && restart.name !== 'no')
    throw new DockerError(409, 'Restart policy cannot be updated because AutoRemove is enabled for the container');
  checkSwap(fields, limits, container.spec.limits ?? {});
  const labels = { ...container.labels, [SETTINGS_LABEL]: JSON.stringify({ ...settings, restart }) };
  await call.engine.updateContainer(container.id, { limits, ...(changesPolicy ? { labels } : {}) });
  const now = call.engine.container(container.id) ?? container;
  if (settingsOf(now)?.restart.name === 'no') call.docker.cancelRestart(container.id);
  call.docker.happenings.about(now, 'update');
  answerJson(call, { Warnings: warnings });
}

function checkSwap(fields: Fields, wanted: Limits, now: Limits): void {
  const { memoryBytes, memorySwapBytes } = wanted;
  if (memoryBytes === undefined || memorySwapBytes !== undefined) return;
  if (now.memorySwapBytes !== undefined && now.memorySwapBytes > 0 && memoryBytes > now.memorySwapBytes)
    throw fields.refuse(
      'Memory',
      'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
    );
}
