/**
 * The ClusterRoles and bindings that every cluster has (Kubernetes "RBAC Authorization", "Default roles and role
 * bindings"), as data.
 */
import type { PolicyRule } from '../../kinds/types/rbac.ts';

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const READ_WRITE = [...WRITE, ...READ].sort();

/** `verbs group: resources` */
function rule(verbs: string[], group: string | string[], ...resources: string[]): PolicyRule {
  return { apiGroups: [group].flat(), resources, verbs };
}

function paths(...nonResourceURLs: string[]): PolicyRule {
  return { nonResourceURLs, verbs: ['get'] };
}

const HEALTH = ['/healthz', '/livez', '/readyz', '/version', '/version/'];
const EVENTS = rule(['create', 'patch', 'update'], ['', 'events.k8s.io'], 'events');
const WORKLOADS = [
  'daemonsets',
  'deployments',
  'deployments/scale',
  'replicasets',
  'replicasets/scale',
  'statefulsets',
  'statefulsets/scale',
];
const WORKLOAD_STATUS = ['daemonsets/status', 'deployments/status', 'replicasets/status', 'statefulsets/status'];

export interface DefaultRole {
  name: string;
  rules?: PolicyRule[];
  labels?: Record<string, string>;
  /** Its rules are those of all ClusterRoles with this label. */
  aggregates?: string;
}

const aggregateTo = (name: string) => `rbac.authorization.k8s.io/aggregate-to-${name}`;
const labelled = (name: string) => ({ [aggregateTo(name)]: 'true' });

export const DEFAULT_ROLES: readonly DefaultRole[] = [
  { name: 'cluster-admin', rules: [rule(['*'], '*', '*'), { nonResourceURLs: ['*'], verbs: ['*'] }] },
  { name: 'admin', aggregates: aggregateTo('admin') },
  { name: 'edit', aggregates: aggregateTo('edit'), labels: labelled('admin') },
  { name: 'view', aggregates: aggregateTo('view'), labels: labelled('edit') },
  {
    name: 'system:aggregate-to-admin',
    labels: labelled('admin'),
    rules: [
      rule(['create'], 'authorization.k8s.io', 'localsubjectaccessreviews'),
      rule(READ_WRITE, 'rbac.authorization.k8s.io', 'rolebindings', 'roles'),
    ],
  },
  {
    name: 'system:aggregate-to-edit',
    labels: labelled('edit'),
    rules: [
      rule(READ, '', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'secrets', 'services/proxy'),
      rule(['impersonate'], '', 'serviceaccounts'),
      rule(WRITE, '', 'pods', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy'),
      rule(['create'], '', 'pods/eviction'),
      rule(
        WRITE,
        '',
        'configmaps',
        'events',
        'persistentvolumeclaims',
        'replicationcontrollers',
        'replicationcontrollers/scale',
        'secrets',
        'serviceaccounts',
        'services',
        'services/proxy',
      ),
      rule(['create'], '', 'serviceaccounts/token'),
      rule(WRITE, 'apps', ...WORKLOADS, 'deployments/rollback'),
      rule(WRITE, 'autoscaling', 'horizontalpodautoscalers'),
      rule(WRITE, 'batch', 'cronjobs', 'jobs'),
      rule(WRITE, 'policy', 'poddisruptionbudgets'),
      rule(WRITE, 'networking.k8s.io', 'ingresses', 'networkpolicies'),
      rule(READ_WRITE, 'coordination.k8s.io', 'leases'),
    ],
  },
  {
    name: 'system:aggregate-to-view',
    labels: labelled('view'),
    rules: [
      rule(
        READ,
        '',
        'configmaps',
        'endpoints',
        'persistentvolumeclaims',
        'persistentvolumeclaims/status',
        'pods',
        'replicationcontrollers',
        'replicationcontrollers/scale',
        'serviceaccounts',
        'services',
        'services/status',
      ),
      rule(
        READ,
        '',
        'bindings',
        'events',
        'limitranges',
        'namespaces/status',
        'pods/log',
        'pods/status',
        'replicationcontrollers/status',
        'resourcequotas',
        'resourcequotas/status',
      ),
      rule(READ, '', 'namespaces'),
      rule(READ, 'discovery.k8s.io', 'endpointslices'),
      rule(READ, 'apps', 'controllerrevisions', ...WORKLOADS, ...WORKLOAD_STATUS),
      rule(READ, 'autoscaling', 'horizontalpodautoscalers', 'horizontalpodautoscalers/status'),
      rule(READ, 'batch', 'cronjobs', 'cronjobs/status', 'jobs', 'jobs/status'),
      rule(READ, 'policy', 'poddisruptionbudgets', 'poddisruptionbudgets/status'),
      rule(READ, 'networking.k8s.io', 'ingresses', 'ingresses/status', 'networkpolicies'),
    ],
  },
  {
    name: 'system:aggregated-metrics-reader',
    labels: { ...labelled('admin'), ...labelled('edit'), ...labelled('view') },
    rules: [rule(READ, 'metrics.k8s.io', 'nodes', 'pods')],
  },
  {
    name: 'system:auth-delegator',
    rules: [
      rule(['create'], 'authentication.k8s.io', 'tokenreviews'),
      rule(['create'], 'authorization.k8s.io', 'subjectaccessreviews'),
    ],
  },
  {
    name: 'system:basic-user',
    rules: [
      rule(['create'], 'authorization.k8s.io', 'selfsubjectaccessreviews', 'selfsubjectrulesreviews'),
      rule(['create'], 'authentication.k8s.io', 'selfsubjectreviews'),
    ],
  },
  {
    name: 'system:discovery',
    rules: [paths('/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*', ...HEALTH)],
  },
  { name: 'system:public-info-viewer', rules: [paths(...HEALTH)] },
  {
    name: 'system:service-account-issuer-discovery',
    rules: [paths('/.well-known/openid-configuration', '/openid/v1/jwks')],
  },
  {
    name: 'system:monitoring',
    rules: [paths('/healthz', '/healthz/*', '/livez', '/livez/*', '/metrics', '/metrics/slis', '/readyz', '/readyz/*')],
  },
  ...['nodeclient', 'selfnodeclient'].map((name) => ({
    name: `system:certificates.k8s.io:certificatesigningrequests:${name}`,
    rules: [rule(['create'], 'certificates.k8s.io', `certificatesigningrequests/${name}`)],
  })),
  ...['kube-apiserver-client', 'kube-apiserver-client-kubelet', 'kubelet-serving', 'legacy-unknown'].map((signer) => ({
    name: `system:certificates.k8s.io:${signer}-approver`,
    rules: [{ ...rule(['approve'], 'certificates.k8s.io', 'signers'), resourceNames: [`kubernetes.io/${signer}`] }],
  })),
  {
    name: 'system:kubelet-api-admin',
    rules: [
      rule([...READ, 'proxy'], '', 'nodes'),
      rule(['*'], '', 'nodes/log', 'nodes/metrics', 'nodes/proxy', 'nodes/stats'),
    ],
  },
  {
    name: 'system:node-bootstrapper',
    rules: [rule(['create', ...READ], 'certificates.k8s.io', 'certificatesigningrequests')],
  },
  {
    name: 'system:node-problem-detector',
    rules: [rule(['get'], '', 'nodes'), rule(['patch'], '', 'nodes/status'), EVENTS],
  },
  {
    name: 'system:node-proxier',
    rules: [
      rule(['list', 'watch'], '', 'endpoints', 'services'),
      rule(READ, '', 'nodes'),
      EVENTS,
      rule(['list', 'watch'], 'discovery.k8s.io', 'endpointslices'),
    ],
  },
  { name: 'system:kube-dns', rules: [rule(['list', 'watch'], '', 'endpoints', 'services')] },
  {
    name: 'system:persistent-volume-provisioner',
    rules: [
      rule(['create', 'delete', ...READ], '', 'persistentvolumes'),
      rule([...READ, 'update'], '', 'persistentvolumeclaims'),
      rule(READ, 'storage.k8s.io', 'storageclasses'),
      rule(['watch'], '', 'events'),
      EVENTS,
    ],
  },
];

/** `auth-extra-groups` of bootstrap tokens for new nodes. */
const NODE_BOOTSTRAPPERS = 'system:bootstrappers:sampan:nodes';

/** ClusterRoleBindings of the same names. */
export const DEFAULT_BINDINGS: readonly { role: string; groups: string[] }[] = [
  { role: 'cluster-admin', groups: ['system:masters'] },
  { role: 'system:basic-user', groups: ['system:authenticated'] },
  { role: 'system:discovery', groups: ['system:authenticated'] },
  { role: 'system:public-info-viewer', groups: ['system:authenticated', 'system:unauthenticated'] },
  { role: 'system:service-account-issuer-discovery', groups: ['system:serviceaccounts'] },
  { role: 'system:monitoring', groups: ['system:monitoring'] },
  // A new node asks for its certificate by a bootstrap token of this group; one that has it renews it by itself.
  { role: 'system:node-bootstrapper', groups: [NODE_BOOTSTRAPPERS] },
  { role: 'system:certificates.k8s.io:certificatesigningrequests:nodeclient', groups: [NODE_BOOTSTRAPPERS] },
  { role: 'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient', groups: ['system:nodes'] },
];
