/** How users name buildpacks: `nodejs_buildpack` as in Cloud Foundry, `nodejs`, or the id `sampan/nodejs`. */
import type { BuildpackInfo } from './builder/builder.ts';
import { StagingError } from './staging.ts';

export function listedName(id: string): string {
  return `${id.slice(id.indexOf('/') + 1)}_buildpack`;
}

/** Ids in the order of the names. @throws StagingError `no-app-detected` that lists what there is */
export function chosenBuildpacks(names: readonly string[], shipped: readonly BuildpackInfo[]): string[] {
  return names.map((name) => {
    const found = shipped.find(({ id }) =>
      [id, listedName(id), id.slice(id.indexOf('/') + 1)].includes(name.toLowerCase()),
    );
    if (found !== undefined) return found.id;
    const known = shipped.map(({ id }) => listedName(id)).join(', ');
    const what = /^(https?|git|ssh):|\.git\b/.test(name)
      ? 'buildpacks from an address are not supported'
      : 'there is no such buildpack';
    throw new StagingError('no-app-detected', `buildpack ${JSON.stringify(name)}: ${what}; there are ${known}`);
  });
}
