/** Records of containers and volumes, as they lie on disk. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isContainerRecord } from '../containers/container-records.ts';
import { type Layout, containerPaths } from '../containers/layout.ts';
import { readRecord } from '../containers/records.ts';
import type { FsckProblem } from './fsck.ts';

/** @param hasManifest  whether the manifest of an image is here and whole */
export async function checkContainers(
  layout: Layout,
  hasManifest: (digest: string) => boolean,
): Promise<{ count: number; images: string[]; problems: (FsckProblem & { torn?: string })[] }> {
  const problems: (FsckProblem & { torn?: string })[] = [];
  const images: string[] = [];
  const ids = existsSync(layout.containersData) ? readdirSync(layout.containersData) : [];
  for (const id of ids) {
    const what = `containers/${id}`;
    const record = await readRecord(containerPaths(layout, id).record, isContainerRecord);
    if (record !== undefined) images.push(record.imageDigest);
    if (record === undefined)
      problems.push({ kind: 'record', what, detail: 'its record is torn or missing: it was half made', torn: id });
    else if (!hasManifest(record.imageDigest))
      problems.push({ kind: 'record', what, detail: `its image ${record.imageDigest} is not whole: pull it again` });
  }
  return { count: ids.length, images, problems };
}

export function checkVolumes(directory: string): { count: number; problems: (FsckProblem & { name: string })[] } {
  const names = existsSync(directory) ? readdirSync(directory) : [];
  const problems = names.flatMap((name) => {
    const file = join(directory, name, 'volume.json');
    // Without a record it is half made or half removed, and goes when the engine starts.
    if (!existsSync(file) || isVolumeRecord(file, name)) return [];
    return [{ kind: 'record' as const, what: `volumes/${name}`, detail: 'its record volume.json is torn', name }];
  });
  return { count: names.length, problems };
}

function isVolumeRecord(file: string, name: string): boolean {
  try {
    const record: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return (record as { name?: unknown }).name === name;
  } catch {
    // Cut short.
    return false;
  }
}
