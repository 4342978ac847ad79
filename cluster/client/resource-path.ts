import type { ResourceRef } from '../kinds/kind.ts';

/** `/api/v1/namespaces/<namespace>/pods/<name>/<subresource>`, each part escaped. */
export function resourcePath(
  resource: ResourceRef,
  parts: { namespace?: string | undefined; name?: string; subresource?: string } = {},
): string {
  let path = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  if (resource.namespaced && parts.namespace !== undefined)
    path += `/namespaces/${encodeURIComponent(parts.namespace)}`;
  path += `/${resource.resource}`;
  if (parts.name !== undefined) path += `/${encodeURIComponent(parts.name)}`;
  if (parts.subresource !== undefined) path += `/${parts.subresource}`;
  return path;
}

/** Adds the parameters that are there; a list is repeated. */
export function withQuery(
  path: string,
  query: Record<string, string | number | boolean | readonly string[] | undefined>,
): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    if (typeof value === 'object') for (const one of value) parameters.append(name, one);
    else parameters.append(name, String(value));
  }
  const encoded = parameters.toString();
  return encoded === '' ? path : `${path}?${encoded}`;
}
