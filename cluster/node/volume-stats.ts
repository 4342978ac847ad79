/** What the volumes of a pod have and use, as the Summary API shows them: those with a file system of their own, and those whose driver says it. */
import { statfs } from 'node:fs/promises';
import type { Pod, Volume } from '../kinds/types/core.ts';
import { claimNameOf } from '../kinds/volume-match.ts';
import type { Csi, VolumeUse } from './csi/csi.ts';
import { hasErrorCode } from './errors.ts';
import type { BoundPath, PreparedVolume } from './volumes.ts';

export interface VolumeStats extends Omit<VolumeUse, 'condition'> {
  time: string;
  volumeHealthStats?: { abnormal: boolean };
  name: string;
  pvcRef?: { name: string; namespace: string };
}

export async function volumeStatsOf(
  { metadata, spec }: Pod,
  prepared: ReadonlyMap<string, PreparedVolume>,
  csi: Csi | undefined,
): Promise<VolumeStats[]> {
  const all = (spec?.volumes ?? []).map(async (volume): Promise<VolumeStats[]> => {
    const one = prepared.get(volume.name);
    const use = one?.kind === 'path' ? await useOf(one, csi) : undefined;
    if (use === undefined) return [];
    const { condition, ...rest } = use;
    const health = condition && { volumeHealthStats: { abnormal: condition.abnormal } };
    return [{ time: new Date().toISOString(), name: volume.name, ...claimOf(metadata, volume), ...rest, ...health }];
  });
  return (await Promise.all(all)).flat();
}

async function useOf({ path, measured }: BoundPath, csi: Csi | undefined): Promise<VolumeUse | undefined> {
  if (measured === 'by-driver') return await csi?.use(path);
  // What else lies on the host may be of a server that is away, and hang.
  if (measured !== 'here') return undefined;
  try {
    const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
    return {
      capacityBytes: blocks * bsize,
      usedBytes: (blocks - bfree) * bsize,
      availableBytes: bavail * bsize,
      inodes: files,
      inodesUsed: files - ffree,
      inodesFree: ffree,
    };
  } catch (error) {
    // Its pod ended meanwhile.
    if (hasErrorCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function claimOf({ name, namespace = '' }: Pod['metadata'], volume: Volume): Pick<VolumeStats, 'pvcRef'> {
  const claim = claimNameOf(name ?? '', volume);
  return claim === undefined ? {} : { pvcRef: { name: claim, namespace } };
}
