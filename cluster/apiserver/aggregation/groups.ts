/** Which groups and versions there are, served here or behind, in the order in which clients should find them. */
import { aggregatedResources } from '../aggregated-resources.ts';
import type { Core } from '../core.ts';
import { byVersion, prioritiesOf } from './priorities.ts';

/**
 * Named groups and their versions, the preferred one first. A group's priority is the greatest of its versions'; groups of one
 * priority stand by their names.
 * @param further  `group/version` that no kind of the registry has
 */
export function groupVersions(core: Core, further: readonly string[]): Map<string, string[]> {
  const groups = new Map<string, { priority: number; versions: Map<string, number> }>();
  const add = (group: string, version: string, priorities: { group: number; version: number }) => {
    const found = groups.get(group) ?? { priority: 0, versions: new Map<string, number>() };
    found.priority = Math.max(found.priority, priorities.group);
    found.versions.set(version, priorities.version);
    groups.set(group, found);
  };
  const addOwn = (group: string, version: string) => add(group, version, prioritiesOf(group, version));
  for (const { group, version } of core.registry.all()) if (group !== '') addOwn(group, version);
  for (const name of further) addOwn(...(name.split('/') as [string, string]));
  for (const { group, version, groupPriority, versionPriority } of core.aggregation.all())
    add(group, version, { group: groupPriority, version: versionPriority });
  return new Map(
    [...groups]
      .sort(([a, one], [b, other]) => other.priority - one.priority || (a < b ? -1 : 1))
      .map(([group, { versions }]) => [
        group,
        [...versions]
          .map(([version, priority]) => ({ version, priority }))
          .sort(byVersion)
          .map(({ version }) => version),
      ]),
  );
}

/** What a server behind said of its resources, as those of the aggregated form; `Stale` while it does not answer. */
export function remoteVersion(core: Core, group: string, version: string): object | undefined {
  const api = core.aggregation.find(group, version);
  if (api === undefined) return undefined;
  const { available, resources } = api.told;
  return {
    version,
    resources: aggregatedResources(resources, group, version),
    freshness: available ? 'Current' : 'Stale',
  };
}
