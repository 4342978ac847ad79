/** Wished mounts, put into the engine's words: volumes made where they are not there, paths of the host checked. */
import type { Mount } from '../engine.ts';
import { allowedSource } from './bind-sources.ts';
import type { MountWish } from './mount-request.ts';
import type { Settings } from './settings.ts';
import { ANONYMOUS_LABEL, type Volumes } from './volumes.ts';

export interface MountSources {
  mounts: Mount[];
  /** Which volumes they are, for the container's settings. */
  volumes: Settings['volumes'];
}

export interface MountRequest {
  volumes: Volumes;
  allowedBinds: readonly string[];
  /** Called with each volume before it is mounted: from then on nobody removes it. */
  hold: (name: string, isAnonymous: boolean) => void;
}

export async function mountSources(wishes: readonly MountWish[], request: MountRequest): Promise<MountSources> {
  const found: MountSources = { mounts: [], volumes: [] };
  for (const wish of wishes) {
    if (wish.kind === 'tmpfs') found.mounts.push(wish);
    else if (wish.kind === 'bind') found.mounts.push(await bindMount(wish, request));
    else await addVolume(wish, request, found);
  }
  return found;
}

async function bindMount(wish: Extract<MountWish, { kind: 'bind' }>, { allowedBinds }: MountRequest): Promise<Mount> {
  const { source, target, readOnly, propagation, recursive = true, make = false } = wish;
  const real = await allowedSource(source, allowedBinds, make);
  return { kind: 'bind', source: real, target, readOnly, recursive, ...(propagation && { propagation }) };
}

async function addVolume(
  wish: Extract<MountWish, { kind: 'volume' }>,
  { volumes, allowedBinds, hold }: MountRequest,
  found: MountSources,
): Promise<void> {
  const { target, readOnly } = wish;
  const anonymous = wish.name === '';
  const volume = await volumes.create({
    name: wish.name,
    labels: { ...wish.labels, ...(anonymous ? { [ANONYMOUS_LABEL]: '' } : {}) },
    ...(wish.options && { options: wish.options }),
    anonymous,
  });
  hold(volume.name, anonymous);
  const { source, recursive } = await volumes.source(volume, allowedBinds);
  found.volumes.push({ name: volume.name, target, readOnly, anonymous });
  found.mounts.push({ kind: 'bind', source, target, readOnly, recursive, seed: wish.noCopy !== true });
}
