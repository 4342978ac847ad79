/** What a cluster has before anybody asks for it: its own namespaces, and the Service that leads to its API. */
import type { ApiObject, ResourceRef } from '../kinds/kind.ts';
import { SYSTEM_PRIORITIES } from '../kinds/priority-class.ts';
import { endpointSlices, endpoints, priorityClasses, services } from '../kinds/resources.ts';
import { kindPrefix, objectKey } from './cache.ts';
import type { Core } from './core.ts';
import { createObject } from './create.ts';
import { SYSTEM_NAMESPACES } from './namespaces.ts';
import { apiVersionOf } from './registry.ts';
import { changeObject } from './update.ts';

/** The server's own: nobody's rights are asked for. */
export const OWN_WRITE = {
  dryRun: false,
  fieldValidation: 'Ignore' as const,
  fieldManager: 'apiserver',
  warn: () => undefined,
};

export async function createSystemNamespaces(core: Core): Promise<void> {
  const kind = core.registry.find('', 'v1', 'namespaces');
  if (kind === undefined) return;
  const { objects } = core.cache.resource(kindPrefix(kind));
  const missing = SYSTEM_NAMESPACES.filter((name) => !objects.has(objectKey(kind, '', name)));
  await Promise.all(
    missing.map((name) => {
      const object: ApiObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
      return createObject(core, kind, '', object, OWN_WRITE);
    }),
  );
}

/** The priorities above everybody's own, for what the cluster cannot do without. */
export async function createSystemPriorities(core: Core): Promise<void> {
  await Promise.all(
    Object.entries(SYSTEM_PRIORITIES).map(([name, value]) =>
      put(core, priorityClasses, {
        metadata: { name },
        value,
        description: `Of system pods that ${name.includes('node') ? 'their node' : 'the cluster'} cannot do without.`,
      }),
    ),
  );
}

/** `https://kubernetes.default.svc`: at the first address of the range, to where pods reach this server. Its endpoints are ours alone. */
export async function createApiService(core: Core, at: { address: string; port: number }): Promise<void> {
  const clusterIP = core.addresses.first;
  if (clusterIP === undefined) return;
  const labels = { component: 'apiserver', provider: 'kubernetes' };
  await put(core, services, {
    metadata: { name: 'kubernetes', namespace: 'default', labels },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: at.port }],
    },
  });
  await put(core, endpoints, {
    metadata: {
      name: 'kubernetes',
      namespace: 'default',
      labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' },
    },
    subsets: [{ addresses: [{ ip: at.address }], ports: [{ name: 'https', port: at.port, protocol: 'TCP' }] }],
  });
  await put(core, endpointSlices, {
    metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [at.address], conditions: { ready: true } }],
    ports: [{ name: 'https', port: at.port, protocol: 'TCP' }],
  });
}

/** Creates it, or makes what is there the same. */
export async function put(core: Core, ref: ResourceRef, wanted: ApiObject): Promise<void> {
  const kind = core.registry.find(ref.group, ref.version, ref.resource);
  const { name = '', namespace = '' } = wanted.metadata;
  if (kind === undefined) return;
  const object = { apiVersion: apiVersionOf(kind), kind: kind.kind, ...wanted };
  if (!core.cache.resource(kindPrefix(kind)).objects.has(objectKey(kind, namespace, name))) {
    await createObject(core, kind, namespace, object, OWN_WRITE);
    return;
  }
  await changeObject(core, kind, { namespace, name }, OWN_WRITE, { part: '', change: () => structuredClone(object) });
}
