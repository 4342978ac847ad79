/**
 * Makes the data that the cluster plank holds of the Kubernetes API, from files that are not part of this repository:
 *
 *   node tools/kubernetes-data.ts OPENAPI_V2.json [GO_SOURCES]   (the Node of ./sampan)
 *
 * - `cluster/kinds/schema/*.json`: the schemas that the roots below lead to, without their descriptions.
 * - `cluster/kinds/types/*.ts`: the same as TypeScript interfaces. Types that are there already are kept as they are.
 * - `cluster/kinds/protobuf-fields.json`: field numbers, of every schema whose Go type is below GO_SOURCES (checkouts of
 *   kubernetes/api and kubernetes/apimachinery). Numbers that are there already are kept as they are.
 *
 * A kind is added by naming it here, running this, and writing its file in `cluster/kinds/`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { goFieldNumbers } from './kubernetes-go-types.ts';
import { type Definition, interfacesOf } from './kubernetes-interfaces.ts';

const API = 'io.k8s.api.';
/** Of servers of their own. */
const FURTHER = ['io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService'];
const WIDTH = 120;
const KINDS = join(import.meta.dirname, '../cluster/kinds');

/** By package below `io.k8s.api`. */
const ROOTS: Record<string, string[]> = {
  'admissionregistration.v1': [
    'MutatingWebhookConfiguration',
    'ValidatingAdmissionPolicy',
    'ValidatingAdmissionPolicyBinding',
    'ValidatingWebhookConfiguration',
  ],
  'apps.v1': ['ControllerRevision', 'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet'],
  'authentication.v1': ['SelfSubjectReview', 'TokenRequest', 'TokenReview'],
  'authorization.v1': [
    'LocalSubjectAccessReview',
    'SelfSubjectAccessReview',
    'SelfSubjectRulesReview',
    'SubjectAccessReview',
  ],
  'autoscaling.v1': ['HorizontalPodAutoscaler', 'Scale'],
  'autoscaling.v2': ['HorizontalPodAutoscaler'],
  'batch.v1': ['CronJob', 'Job'],
  'certificates.v1': ['CertificateSigningRequest'],
  'coordination.v1': ['Lease'],
  'core.v1': [
    'Binding',
    'ComponentStatus',
    'ConfigMap',
    'Endpoints',
    'Event',
    'LimitRange',
    'Namespace',
    'Node',
    'PersistentVolume',
    'PersistentVolumeClaim',
    'Pod',
    'PodTemplate',
    'ReplicationController',
    'ResourceQuota',
    'Secret',
    'Service',
    'ServiceAccount',
  ],
  'discovery.v1': ['EndpointSlice'],
  'events.v1': ['Event'],
  'flowcontrol.v1': ['FlowSchema', 'PriorityLevelConfiguration'],
  'networking.v1': ['Ingress', 'IngressClass', 'NetworkPolicy'],
  'node.v1': ['RuntimeClass'],
  'policy.v1': ['Eviction', 'PodDisruptionBudget'],
  'rbac.v1': ['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'],
  'scheduling.v1': ['PriorityClass'],
  'storage.v1': ['CSIDriver', 'CSINode', 'CSIStorageCapacity', 'StorageClass', 'VolumeAttachment'],
};

const [specification, sources] = process.argv.slice(2);
if (specification === undefined) throw new Error('name the OpenAPI v2 document of Kubernetes as the first argument');
const { definitions: all } = JSON.parse(readFileSync(specification, 'utf8')) as {
  definitions: Record<string, Definition>;
};
const wanted = new Map<string, Definition>();
for (const [group, kinds] of Object.entries(ROOTS))
  for (const kind of kinds) for (const name of [kind, `${kind}List`]) visit(`${API}${group}.${name}`);
for (const kind of FURTHER) for (const name of [kind, `${kind}List`]) visit(name);
for (const file of readdirSync(join(KINDS, 'schema')))
  for (const name of Object.keys(readJson(`schema/${file}`))) visit(name);

const files = Map.groupBy([...wanted.keys()].sort(), fileOf);
for (const [file, names] of files)
  writeJson(`schema/${file}.json`, Object.fromEntries(names.map((name) => [name, wanted.get(name)])));
for (const { path, text } of interfacesOf(wanted, fileOf, join(KINDS, 'types'))) writeFileSync(path, text);
if (sources !== undefined) {
  const numbers = readJson('protobuf-fields.json');
  for (const [name, fields] of goFieldNumbers(sources))
    if (wanted.has(name) || !(name in all)) numbers[name] ??= fields;
  writeJson('protobuf-fields.json', Object.fromEntries(Object.entries(numbers).sort(([a], [b]) => (a < b ? -1 : 1))));
}
spawnSync(join(KINDS, '../../node_modules/.bin/biome'), ['format', '--write', 'cluster/kinds'], {
  cwd: join(KINDS, '../..'),
  stdio: 'inherit',
});

function visit(name: string): void {
  const found = all[name];
  if (found === undefined || wanted.has(name)) return;
  wanted.set(name, withoutDescriptions(found) as Definition);
  for (const [, inner] of JSON.stringify(found).matchAll(/"#\/definitions\/([^"]+)"/g)) visit(inner ?? '');
}

/** Only texts: a field may have the name `description` too. */
function withoutDescriptions(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDescriptions);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) =>
      key === 'description' && typeof inner === 'string' ? [] : [[key, withoutDescriptions(inner)]],
    ),
  );
}

/** `core` of `io.k8s.api.core.v1.Pod`; versions beyond the first have files of their own. */
function fileOf(name: string): string {
  const match = /^io\.k8s\.api\.([a-z]+)\.(v\w+)\./.exec(name);
  if (match !== null) return match[2] === 'v1' ? (match[1] ?? '') : `${match[1]}-${match[2]}`;
  if (name.startsWith('io.k8s.kube-aggregator')) return 'apiregistration';
  return name.startsWith('io.k8s.apiextensions-apiserver') ? 'apiextensions' : 'meta';
}

function readJson(path: string): Record<string, unknown> {
  const at = join(KINDS, path);
  return existsSync(at) ? (JSON.parse(readFileSync(at, 'utf8')) as Record<string, unknown>) : {};
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(join(KINDS, path), `${compact(value, 0, 0)}\n`);
}

/** JSON with each object on one line where it fits. */
function compact(value: unknown, indent: number, before: number): string {
  const line = JSON.stringify(value, null, 1)
    .replace(/\n */g, ' ')
    .replace(/\[ (.*?) \]/g, '[$1]');
  if (typeof value !== 'object' || value === null || (indent > 0 && indent + before + line.length < WIDTH)) return line;
  const inner = ' '.repeat(indent + 2);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const parts = Object.entries(value).map(([key, one]) => {
    const name = Array.isArray(value) ? '' : `${JSON.stringify(key)}: `;
    return `${inner}${name}${compact(one, indent + 2, name.length)}`;
  });
  return `${open}\n${parts.join(',\n')}\n${' '.repeat(indent)}${close}`;
}
