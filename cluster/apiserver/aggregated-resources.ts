/** Resources in the aggregated form of discovery (apidiscovery.k8s.io): each with its subresources. */
import type { APIResource } from '../kinds/types/meta.ts';

/** @param resources  all of one group and version, in the plain form */
export function aggregatedResources(resources: readonly APIResource[], group: string, version: string): object[] {
  const kindOf = (resource: APIResource) => ({
    group: resource.group || group,
    version: resource.version || version,
    kind: resource.kind,
  });
  return resources
    .filter(({ name }) => !name.includes('/'))
    .map((resource) => {
      const parts = resources.filter(({ name }) => name.startsWith(`${resource.name}/`));
      return {
        resource: resource.name,
        responseKind: kindOf(resource),
        scope: resource.namespaced ? 'Namespaced' : 'Cluster',
        singularResource: resource.singularName,
        verbs: resource.verbs,
        ...(resource.shortNames && { shortNames: resource.shortNames }),
        ...(resource.categories && { categories: resource.categories }),
        ...(parts.length > 0 && {
          subresources: parts.map((part) => ({
            subresource: part.name.slice(resource.name.length + 1),
            responseKind: kindOf(part),
            verbs: part.verbs,
          })),
        }),
      };
    });
}
