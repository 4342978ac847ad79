/**
 * The CustomResourceDefinitions of `platform.sampan.dev/v1`, and their installation.
 *
 * Schemas are loose (`x-kubernetes-preserve-unknown-fields`): the cloud controller alone writes these objects and holds
 * their invariants; the definitions give them a place, a status subresource and columns for `kubectl get`.
 */
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { CustomResourceDefinition } from '#cluster/kinds/types/apiextensions.ts';
import { customResourceDefinitions, namespaces } from './kubernetes.ts';
import { systemNamespace } from './types.ts';

const GROUP = 'platform.sampan.dev';

interface Column {
  name: string;
  type: 'string' | 'integer' | 'date' | 'boolean';
  jsonPath: string;
  priority?: number;
}

interface Definition {
  kind: string;
  plural: string;
  scope: 'Namespaced' | 'Cluster';
  shortNames?: string[];
  columns: Column[];
}

const NAME: Column = { name: 'Display Name', type: 'string', jsonPath: '.spec.displayName' };
const APP: Column = { name: 'App', type: 'string', jsonPath: '.spec.app' };
const STATE: Column = { name: 'State', type: 'string', jsonPath: '.status.state' };
const AGE: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

const column = (name: string, jsonPath: string, type: Column['type'] = 'string', priority?: number): Column => ({
  name,
  type,
  jsonPath,
  ...(priority === undefined ? {} : { priority }),
});

const OPERATION = column('Operation', '.status.operation.type');
const OPERATION_STATE = column('State', '.status.operation.state');

const DEFINITIONS: Definition[] = [
  {
    kind: 'Organization',
    plural: 'organizations',
    scope: 'Cluster',
    shortNames: ['org', 'orgs'],
    columns: [NAME, column('Suspended', '.spec.suspended', 'boolean'), AGE],
  },
  {
    kind: 'Space',
    plural: 'spaces',
    scope: 'Cluster',
    columns: [
      NAME,
      column('Namespace', '.spec.namespace'),
      column('Organization', '.spec.organization', 'string', 1),
      AGE,
    ],
  },
  { kind: 'OrganizationQuota', plural: 'organizationquotas', scope: 'Cluster', columns: [NAME, AGE] },
  {
    kind: 'SpaceQuota',
    plural: 'spacequotas',
    scope: 'Cluster',
    columns: [NAME, column('Organization', '.spec.organization'), AGE],
  },
  {
    kind: 'Domain',
    plural: 'domains',
    scope: 'Cluster',
    columns: [NAME, column('Internal', '.spec.internal', 'boolean'), AGE],
  },
  { kind: 'IsolationSegment', plural: 'isolationsegments', scope: 'Cluster', columns: [NAME, AGE] },
  {
    kind: 'DomainCertificate',
    plural: 'domaincertificates',
    scope: 'Cluster',
    columns: [
      column('Hosts', '.spec.hosts'),
      column('Source', '.spec.source'),
      column('State', '.status.state'),
      column('Expires', '.status.notAfter'),
      column('Error', '.status.error.detail'),
      AGE,
    ],
  },
  { kind: 'Reservation', plural: 'reservations', scope: 'Cluster', columns: [column('Key', '.spec.key'), AGE] },
  { kind: 'Group', plural: 'groups', scope: 'Cluster', columns: [NAME, AGE] },
  { kind: 'OauthClient', plural: 'oauthclients', scope: 'Cluster', columns: [column('Id', '.spec.id'), AGE] },
  { kind: 'User', plural: 'users', scope: 'Cluster', columns: [column('Username', '.spec.username'), AGE] },
  {
    kind: 'Role',
    plural: 'roles',
    scope: 'Cluster',
    columns: [column('Type', '.spec.type'), column('User', '.spec.user'), AGE],
  },
  {
    kind: 'FeatureFlag',
    plural: 'featureflags',
    scope: 'Cluster',
    columns: [column('Enabled', '.spec.enabled', 'boolean'), AGE],
  },
  {
    kind: 'IdentityProvider',
    plural: 'identityproviders',
    scope: 'Cluster',
    columns: [column('Origin', '.spec.origin'), column('Active', '.spec.active', 'boolean'), AGE],
  },
  { kind: 'CatalogEntry', plural: 'catalogentries', scope: 'Cluster', columns: [AGE] },
  {
    kind: 'Buildpack',
    plural: 'buildpacks',
    scope: 'Cluster',
    columns: [
      NAME,
      column('Position', '.spec.position', 'integer'),
      column('Enabled', '.spec.enabled', 'boolean'),
      AGE,
    ],
  },
  {
    kind: 'App',
    plural: 'apps',
    scope: 'Namespaced',
    columns: [
      NAME,
      column('State', '.spec.state'),
      column('Generation', '.spec.generation', 'integer'),
      column('Droplet', '.spec.currentDroplet', 'string', 1),
      AGE,
    ],
  },
  {
    kind: 'Package',
    plural: 'packages',
    scope: 'Namespaced',
    columns: [APP, column('Type', '.spec.type'), STATE, AGE],
  },
  { kind: 'Build', plural: 'builds', scope: 'Namespaced', columns: [APP, STATE, AGE] },
  {
    kind: 'Droplet',
    plural: 'droplets',
    scope: 'Namespaced',
    columns: [APP, STATE, column('Image', '.spec.image', 'string', 1), AGE],
  },
  {
    kind: 'Process',
    plural: 'processes',
    scope: 'Namespaced',
    columns: [
      APP,
      column('Type', '.spec.type'),
      column('Instances', '.spec.instances', 'integer'),
      column('Memory', '.spec.memoryMb', 'integer'),
      column('Disk', '.spec.diskMb', 'integer'),
      AGE,
    ],
  },
  {
    kind: 'Sidecar',
    plural: 'sidecars',
    scope: 'Namespaced',
    columns: [APP, NAME, column('Process Types', '.spec.processTypes'), AGE],
  },
  { kind: 'SecurityGroup', plural: 'securitygroups', scope: 'Cluster', columns: [NAME, AGE] },
  {
    kind: 'AppConnection',
    plural: 'appconnections',
    scope: 'Namespaced',
    columns: [APP, column('Destination', '.spec.destination'), AGE],
  },
  {
    kind: 'Route',
    plural: 'routes',
    scope: 'Namespaced',
    columns: [
      column('Host', '.spec.host'),
      column('Domain', '.spec.domainName'),
      column('Path', '.spec.path'),
      column('App', '.spec.destinations[*].app'),
      AGE,
    ],
  },
  {
    kind: 'Revision',
    plural: 'revisions',
    scope: 'Namespaced',
    columns: [APP, column('Version', '.spec.version', 'integer'), column('Description', '.spec.description'), AGE],
  },
  {
    kind: 'AppDeployment',
    plural: 'appdeployments',
    scope: 'Namespaced',
    columns: [
      APP,
      column('Strategy', '.spec.strategy'),
      column('Status', '.status.value'),
      column('Reason', '.status.reason'),
      AGE,
    ],
  },
  {
    kind: 'ServiceBroker',
    plural: 'servicebrokers',
    scope: 'Cluster',
    columns: [NAME, OPERATION, OPERATION_STATE, AGE],
  },
  {
    kind: 'ServiceOffering',
    plural: 'serviceofferings',
    scope: 'Cluster',
    columns: [NAME, column('Available', '.spec.available', 'boolean'), AGE],
  },
  {
    kind: 'ServicePlan',
    plural: 'serviceplans',
    scope: 'Cluster',
    columns: [NAME, column('Available', '.spec.available', 'boolean'), column('Visibility', '.spec.visibility'), AGE],
  },
  {
    kind: 'ServiceOrphan',
    plural: 'serviceorphans',
    scope: 'Namespaced',
    columns: [column('Instance', '.spec.instance'), column('Attempts', '.status.attempts', 'integer'), AGE],
  },
  {
    kind: 'ServiceInstance',
    plural: 'serviceinstances',
    scope: 'Namespaced',
    columns: [NAME, OPERATION, OPERATION_STATE, AGE],
  },
  {
    kind: 'ServiceBinding',
    plural: 'servicebindings',
    scope: 'Namespaced',
    columns: [APP, column('Instance', '.spec.instance'), OPERATION, OPERATION_STATE, AGE],
  },
  {
    kind: 'Task',
    plural: 'tasks',
    scope: 'Namespaced',
    columns: [APP, NAME, column('State', '.status.state'), AGE],
  },
  {
    kind: 'PostgresDatabase',
    plural: 'postgresdatabases',
    scope: 'Namespaced',
    columns: [
      NAME,
      column('Plan', '.spec.plan'),
      STATE,
      column('Server', '.status.server'),
      column('Operation', '.status.operation.description', 'string', 1),
      AGE,
    ],
  },
  {
    kind: 'AppUsageEvent',
    plural: 'appusageevents',
    scope: 'Namespaced',
    columns: [
      column('State', '.spec.state'),
      column('App', '.spec.app.name'),
      column('Instances', '.spec.instances', 'integer'),
      column('Memory', '.spec.memoryMb', 'integer'),
      AGE,
    ],
  },
  {
    kind: 'ServiceUsageEvent',
    plural: 'serviceusageevents',
    scope: 'Namespaced',
    columns: [column('State', '.spec.state'), column('Instance', '.spec.instance.name'), AGE],
  },
  {
    kind: 'AuditEvent',
    plural: 'auditevents',
    scope: 'Namespaced',
    columns: [
      column('Type', '.spec.type'),
      column('Target', '.spec.target.name'),
      column('Actor', '.spec.actor.name'),
      AGE,
    ],
  },
];

/** What `kubectl get crd` shows, whole. */
export function definitions(): CustomResourceDefinition[] {
  return DEFINITIONS.map((definition) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${definition.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: definition.scope,
      names: {
        kind: definition.kind,
        listKind: `${definition.kind}List`,
        plural: definition.plural,
        singular: definition.kind.toLowerCase(),
        categories: ['sampan'],
        ...(definition.shortNames ? { shortNames: definition.shortNames } : {}),
      },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: definition.columns,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: {
                spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
                status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
              },
            },
          },
        },
      ],
    },
  }));
}

/**
 * Creates or updates the definitions and the system namespace, and resolves when the server serves them all (their
 * condition `Established`). Idempotent. Rejects with `ApiError` when the server refuses, or with the signal's reason.
 */
export async function installResources(client: Client, options: { signal?: AbortSignal } = {}): Promise<void> {
  const signal = options.signal ?? AbortSignal.timeout(30_000);
  await Promise.all([...definitions().map((definition) => install(client, definition)), ensureNamespace(client)]);
  await established(client, new Set(definitions().map((definition) => definition.metadata.name ?? '')), signal);
}

async function install(client: Client, wanted: CustomResourceDefinition): Promise<void> {
  const name = wanted.metadata.name ?? '';
  for (let attempt = 0; ; attempt++) {
    try {
      const current = await client.get(customResourceDefinitions, name);
      if (equivalent(current.spec, wanted.spec)) return;
      await client.update(customResourceDefinitions, { ...current, spec: wanted.spec });
      return;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code === 404) {
        try {
          await client.create(customResourceDefinitions, wanted);
          return;
        } catch (refused) {
          if (!(refused instanceof ApiError) || refused.reason !== 'AlreadyExists' || attempt > 5) throw refused;
        }
      } else if (error.reason !== 'Conflict' || attempt > 5) throw error;
    }
  }
}

/** The server adds defaults; what we ask for must be in what it has. */
export function equivalent(current: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(current) &&
      current.length === wanted.length &&
      wanted.every((item, index) => equivalent(current[index], item))
    );
  }
  if (wanted === null || typeof wanted !== 'object') return current === wanted;
  if (current === null || typeof current !== 'object') return false;
  return Object.entries(wanted).every(([key, value]) => equivalent((current as Record<string, unknown>)[key], value));
}

async function ensureNamespace(client: Client): Promise<void> {
  try {
    await client.create(namespaces, { metadata: { name: systemNamespace } });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
}

function isEstablished(definition: CustomResourceDefinition): boolean {
  return (
    definition.status?.conditions?.some(
      (condition) => condition.type === 'Established' && condition.status === 'True',
    ) === true
  );
}

async function established(client: Client, missing: Set<string>, signal: AbortSignal): Promise<void> {
  const list = await client.list(customResourceDefinitions, { signal });
  for (const definition of list.items) if (isEstablished(definition)) missing.delete(definition.metadata.name);
  if (missing.size === 0) return;
  const done = new AbortController();
  const watch = client.watch(customResourceDefinitions, {
    resourceVersion: list.resourceVersion,
    signal: AbortSignal.any([signal, done.signal]),
  });
  for await (const event of watch) {
    if (event.type === 'BOOKMARK' || !isEstablished(event.object)) continue;
    missing.delete(event.object.metadata.name);
    if (missing.size === 0) {
      done.abort();
      return;
    }
  }
  signal.throwIfAborted();
}
