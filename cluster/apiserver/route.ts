/** Reads a request's path: which kind, which object, which verb (Kubernetes API concepts, "Resource URIs"). */
import { methodNotAllowed } from './errors.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

export interface ResourceRequest {
  group: string;
  version: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  verb: Verb;
  /** What follows the subresource, for proxies. */
  rest: string;
}

/** Undefined when the path is no resource's. */
export function parseResourcePath(method: string, path: string, query: URLSearchParams): ResourceRequest | undefined {
  const [, root, ...parts] = path.split('/');
  if (parts.at(-1) === '') parts.pop();
  if (root !== 'api' && root !== 'apis') return undefined;
  const group = root === 'apis' ? (parts.shift() ?? '') : '';
  const version = parts.shift();
  if (version === undefined || parts.length === 0) return undefined;
  let watching = false;
  if (parts[0] === 'watch') {
    watching = true;
    parts.shift();
  }
  let namespace = '';
  // `/namespaces/x` is an object; `/namespaces/x/status` and `/finalize` are its subresources.
  if (parts[0] === 'namespaces' && parts.length > 2 && !(group === '' && isNamespaceSubresource(parts[2]))) {
    namespace = decode(parts[1]);
    parts.splice(0, 2);
  }
  const [resource = '', name, subresource = '', ...rest] = parts.map(decode);
  return {
    group,
    version,
    resource,
    subresource,
    namespace: group === '' && resource === 'namespaces' ? '' : namespace,
    name: name ?? '',
    // Only what is handed on has a use for it.
    verb: verbOf(
      method === 'OPTIONS' && subresource === 'proxy' ? 'GET' : method,
      name !== undefined,
      watching || isTrue(query.get('watch')),
      query,
    ),
    rest: rest.join('/'),
  };
}

function isNamespaceSubresource(part: string | undefined): boolean {
  return part === 'status' || part === 'finalize';
}

function verbOf(method: string, named: boolean, watching: boolean, query: URLSearchParams): Verb {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (watching && (!named || query.has('watch'))) return 'watch';
      return named ? 'get' : 'list';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return named ? 'delete' : 'deletecollection';
    default:
      throw methodNotAllowed();
  }
}

export function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1' || value === '';
}

function decode(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? '');
  } catch {
    return part ?? '';
  }
}
