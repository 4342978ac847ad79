/** What there is to list, watch and delete, in one version of each resource. */
import type { Client } from '../client/client.ts';
import type { ResourceRef } from '../kinds/kind.ts';
import { apiServices } from '../kinds/resources.ts';
import type { APIGroup, APIResource } from '../kinds/types/meta.ts';

interface GroupVersion {
  group: string;
  version: string;
}

/** Of the API server itself. Those of servers behind it (APIService) are left out: nothing here may wait for them. */
export async function discoverResources(client: Client): Promise<ResourceRef[]> {
  const behind = await aggregatedNames(client);
  const { groups } = await client.request<{ groups: APIGroup[] }>({ method: 'GET', path: '/apis' });
  const served = groups.flatMap(({ name, versions }) => {
    const own = versions.find(({ version }) => !behind.has(`${version}.${name}`));
    return own === undefined ? [] : [{ group: name, version: own.version }];
  });
  const lists = await Promise.all([{ group: '', version: 'v1' }, ...served].map((one) => resourcesOf(client, one)));
  return lists.flat();
}

/** Of the servers behind it; `failed` tells of those that do not answer. */
export async function discoverAggregated(client: Client): Promise<{ resources: ResourceRef[]; failed: string[] }> {
  const resources: ResourceRef[] = [];
  const failed: string[] = [];
  for (const name of await aggregatedNames(client)) {
    const [version = '', ...group] = name.split('.');
    try {
      resources.push(...(await resourcesOf(client, { group: group.join('.'), version })));
    } catch (error) {
      failed.push(`${group.join('.')}/${version}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { resources, failed };
}

async function aggregatedNames(client: Client): Promise<Set<string>> {
  const { items } = await client.list(apiServices, { resourceVersion: '0' });
  return new Set(items.filter(({ spec }) => spec?.service).map(({ metadata }) => metadata.name));
}

async function resourcesOf(client: Client, { group, version }: GroupVersion): Promise<ResourceRef[]> {
  const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const { resources } = await client.request<{ resources: APIResource[] }>({ method: 'GET', path });
  return resources
    .filter(
      ({ name, verbs }) => !name.includes('/') && ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb)),
    )
    .map(({ name, kind, namespaced }) => ({ group, version, resource: name, kind, namespaced }));
}
