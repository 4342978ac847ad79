/** Discovery: which groups, versions and resources are served, plain and aggregated (API concepts, "API discovery"). */
import { createHash } from 'node:crypto';
import type { KindDefinition } from '../kinds/kind.ts';
import type { APIResource } from '../kinds/types/meta.ts';
import { groupVersions, remoteVersion } from './aggregation/groups.ts';
import { aggregatedResources } from './aggregated-resources.ts';
import type { Core } from './core.ts';
import { type Exchange, header, sendJson } from './exchange.ts';
import { noSuchPath } from './errors.ts';
import { apiVersionOf } from './registry.ts';

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
const PART_VERBS = ['get', 'patch', 'update'];
const PROXY_VERBS = ['create', 'delete', 'get', 'patch', 'update'];

/** Without objects of their own: they are only asked. */
const REVIEWS: Record<string, APIResource[]> = {
  'authorization.k8s.io/v1': [
    reviewEntry('LocalSubjectAccessReview', true),
    reviewEntry('SelfSubjectAccessReview'),
    reviewEntry('SelfSubjectRulesReview'),
    reviewEntry('SubjectAccessReview'),
  ],
  'authentication.k8s.io/v1': [reviewEntry('SelfSubjectReview'), reviewEntry('TokenReview')],
};

function reviewEntry(kind: string, namespaced = false): APIResource {
  const singularName = kind.toLowerCase();
  return { name: `${singularName}s`, singularName, namespaced, kind, verbs: ['create'] };
}

export function discovery(core: Core, exchange: Exchange, path: string): void {
  const groups = groupVersions(core, Object.keys(REVIEWS));
  const parts = path.split('/').filter((part) => part !== '');
  if (parts[0] === 'api') {
    if (parts.length === 1)
      return aggregatedOr(core, exchange, true, {
        kind: 'APIVersions',
        versions: ['v1'],
        serverAddressByClientCIDRs: [],
      });
    return sendJson(exchange, 200, resourceList(core, 'v1'));
  }
  if (parts.length === 1)
    return aggregatedOr(core, exchange, false, {
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: [...groups].map(([name, versions]) => apiGroup(name, versions)),
    });
  const versions = groups.get(parts[1] ?? '');
  if (versions === undefined) throw noSuchPath();
  if (parts.length === 2)
    return sendJson(exchange, 200, { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(parts[1] ?? '', versions) });
  if (!versions.includes(parts[2] ?? '')) throw noSuchPath();
  sendJson(exchange, 200, resourceList(core, `${parts[1]}/${parts[2]}`));
}

function apiGroup(name: string, versions: string[]): object {
  const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: entries, preferredVersion: entries[0] };
}

function entriesOf(core: Core, groupVersion: string): APIResource[] {
  const entries: APIResource[] = [];
  for (const kind of core.registry.all()) {
    if (apiVersionOf(kind) !== groupVersion) continue;
    entries.push(mainEntry(kind), ...partEntries(kind));
  }
  if (groupVersion === 'v1')
    entries.push({ name: 'bindings', singularName: 'binding', namespaced: true, kind: 'Binding', verbs: ['create'] });
  return [...entries, ...(REVIEWS[groupVersion] ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function mainEntry(kind: KindDefinition): APIResource {
  return {
    name: kind.resource,
    singularName: kind.singular,
    namespaced: kind.namespaced,
    kind: kind.kind,
    verbs: [...(kind.verbs ?? VERBS)],
    ...(kind.shortNames.length === 0 ? {} : { shortNames: kind.shortNames }),
    ...(kind.categories.length === 0 ? {} : { categories: kind.categories }),
  };
}

function partEntries(kind: KindDefinition): APIResource[] {
  const part = (name: string, more: Partial<APIResource> = {}): APIResource => ({
    name: `${kind.resource}/${name}`,
    singularName: '',
    namespaced: kind.namespaced,
    kind: kind.kind,
    verbs: PART_VERBS,
    ...more,
  });
  const entries: APIResource[] = [];
  if (kind.subresources.status) entries.push(part('status'));
  if (kind.subresources.approval === true) entries.push(part('approval'));
  if (kind.subresources.scale !== undefined)
    entries.push(part('scale', { kind: 'Scale', group: 'autoscaling', version: 'v1' }));
  if (kind.group !== '') return entries;
  if (kind.resource === 'namespaces') entries.push(part('finalize', { verbs: ['update'] }));
  if (kind.resource === 'services') entries.push(part('proxy', { kind: 'ServiceProxyOptions', verbs: PROXY_VERBS }));
  if (kind.resource === 'nodes') entries.push(part('proxy', { kind: 'NodeProxyOptions', verbs: ['get'] }));
  if (kind.resource === 'pods')
    entries.push(
      part('attach', { kind: 'PodAttachOptions', verbs: ['create', 'get'] }),
      part('binding', { kind: 'Binding', verbs: ['create'] }),
      part('ephemeralcontainers'),
      part('eviction', { kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] }),
      part('exec', { kind: 'PodExecOptions', verbs: ['create', 'get'] }),
      part('log', { verbs: ['get'] }),
      part('portforward', { kind: 'PodPortForwardOptions', verbs: ['create', 'get'] }),
      part('proxy', { kind: 'PodProxyOptions', verbs: PROXY_VERBS }),
    );
  return entries;
}

function resourceList(core: Core, groupVersion: string): object {
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion,
    resources: entriesOf(core, groupVersion).map((entry) => ({
      ...entry,
      ...(entry.name.includes('/') ? {} : { storageVersionHash: hash(`${groupVersion}/${entry.kind}`) }),
    })),
  };
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64').slice(0, 12).replace(/.{1}$/, '=');
}

function aggregatedOr(core: Core, exchange: Exchange, coreGroup: boolean, plain: object): void {
  const accept = header(exchange, 'accept');
  const match =
    /application\/json;(?=[^,]*g=apidiscovery\.k8s\.io)(?=[^,]*as=APIGroupDiscoveryList)[^,]*v=(v2beta1|v2)/.exec(
      accept,
    );
  if (match === null) return sendJson(exchange, 200, plain);
  const version = match[1] ?? 'v2';
  const groups: [string, string[]][] = coreGroup ? [['', ['v1']]] : [...groupVersions(core, Object.keys(REVIEWS))];
  const body = {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map(([name, versions]) => ({
      metadata: { ...(name === '' ? {} : { name }), creationTimestamp: null },
      versions: versions.map(
        (one) =>
          remoteVersion(core, name, one) ?? {
            version: one,
            resources: aggregatedResources(entriesOf(core, name === '' ? one : `${name}/${one}`), name, one),
            freshness: 'Current',
          },
      ),
    })),
  };
  const { responder } = exchange;
  const bytes = Buffer.from(`${JSON.stringify(body)}\n`);
  const etag = `"${createHash('sha256').update(bytes).digest('hex').toUpperCase()}"`;
  const headers = { etag, vary: 'Accept', 'cache-control': 'public' };
  if (header(exchange, 'if-none-match') === etag) {
    responder.head(304, headers);
    return responder.end();
  }
  responder.head(200, {
    ...headers,
    'content-type': `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
    'content-length': String(bytes.length),
  });
  responder.end(bytes);
}
