/**
 * The FlowSchemas and PriorityLevelConfigurations that every cluster has (Kubernetes, "API Priority and Fairness", "Default objects"),
 * as data. The mandatory ones are always as they are here; the suggested ones while their annotation says so.
 */
import type {
  FlowSchemaSpec,
  NonResourcePolicyRule,
  PriorityLevelConfigurationSpec,
  ResourcePolicyRule,
  Subject,
} from './types/flowcontrol.ts';

const ALL = ['*'];
const everything = {
  resourceRules: [{ verbs: ALL, apiGroups: ALL, resources: ALL, clusterScope: true, namespaces: ALL }],
  nonResourceRules: [{ verbs: ALL, nonResourceURLs: ALL }],
};

const group = (name: string): Subject => ({ kind: 'Group', group: { name } });
const user = (name: string): Subject => ({ kind: 'User', user: { name } });
const account = (name: string, namespace = 'kube-system'): Subject => ({
  kind: 'ServiceAccount',
  serviceAccount: { name, namespace },
});
const everybody = [group('system:unauthenticated'), group('system:authenticated')];

interface Rules {
  resourceRules?: ResourcePolicyRule[];
  nonResourceRules?: NonResourcePolicyRule[];
}

function schema(
  level: string,
  matchingPrecedence: number,
  subjects: Subject[],
  { by, rules = everything }: { by?: 'ByUser' | 'ByNamespace'; rules?: Rules } = {},
): FlowSchemaSpec {
  return {
    priorityLevelConfiguration: { name: level },
    matchingPrecedence,
    ...(by && { distinguisherMethod: { type: by } }),
    rules: [{ subjects, ...rules }],
  };
}

function inNamespaces(verbs: string[], ...of: [apiGroup: string, resource: string][]): Rules {
  return {
    resourceRules: of.map(([apiGroup, resource]) => ({
      verbs,
      apiGroups: [apiGroup],
      resources: [resource],
      namespaces: ALL,
    })),
  };
}

function level(
  shares: number,
  lendablePercent: number,
  queues: number,
  handSize: number,
): PriorityLevelConfigurationSpec {
  return {
    type: 'Limited',
    limited: {
      nominalConcurrencyShares: shares,
      lendablePercent,
      limitResponse: { type: 'Queue', queuing: { queues, handSize, queueLengthLimit: 50 } },
    },
  };
}

export const mandatoryPriorityLevels: ReadonlyMap<string, PriorityLevelConfigurationSpec> = new Map([
  ['exempt', { type: 'Exempt', exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } }],
  [
    'catch-all',
    {
      type: 'Limited',
      limited: { nominalConcurrencyShares: 5, lendablePercent: 0, limitResponse: { type: 'Reject' } },
    },
  ],
]);

export const suggestedPriorityLevels: ReadonlyMap<string, PriorityLevelConfigurationSpec> = new Map([
  ['system', level(30, 33, 64, 6)],
  ['node-high', level(40, 25, 64, 6)],
  ['leader-election', level(10, 0, 16, 4)],
  ['workload-high', level(40, 50, 128, 6)],
  ['workload-low', level(100, 90, 128, 6)],
  ['global-default', level(20, 50, 128, 6)],
]);

export const mandatoryFlowSchemas: ReadonlyMap<string, FlowSchemaSpec> = new Map([
  ['exempt', schema('exempt', 1, [group('system:masters')])],
  ['catch-all', schema('catch-all', 10_000, everybody, { by: 'ByUser' })],
]);

const LEASES = inNamespaces(['get', 'create', 'update'], ['coordination.k8s.io', 'leases']);
const ENDPOINTS = inNamespaces(['get', 'create', 'update'], ['', 'endpoints'], ['discovery.k8s.io', 'endpointslices']);
const NODE_STATUS: Rules = {
  resourceRules: [
    { verbs: ALL, apiGroups: [''], resources: ['nodes', 'nodes/status'], clusterScope: true, namespaces: ALL },
    { verbs: ALL, apiGroups: ['coordination.k8s.io'], resources: ['leases'], namespaces: ALL },
  ],
};
const manager = user('system:kube-controller-manager');
const scheduler = user('system:kube-scheduler');

export const suggestedFlowSchemas: ReadonlyMap<string, FlowSchemaSpec> = new Map([
  [
    'probes',
    schema('exempt', 2, everybody, {
      rules: { nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/healthz', '/readyz', '/livez'] }] },
    }),
  ],
  ['system-leader-election', schema('leader-election', 100, [manager, scheduler], { by: 'ByUser', rules: LEASES })],
  [
    'endpoint-controller',
    schema(
      'workload-high',
      150,
      [
        manager,
        account('endpoint-controller'),
        account('endpointslice-controller'),
        account('endpointslicemirroring-controller'),
      ],
      { by: 'ByUser', rules: ENDPOINTS },
    ),
  ],
  ['workload-leader-election', schema('leader-election', 200, [account('*')], { by: 'ByUser', rules: LEASES })],
  ['system-node-high', schema('node-high', 400, [group('system:nodes')], { by: 'ByUser', rules: NODE_STATUS })],
  ['system-nodes', schema('system', 500, [group('system:nodes')], { by: 'ByUser' })],
  ['kube-controller-manager', schema('workload-high', 800, [manager], { by: 'ByNamespace' })],
  ['kube-scheduler', schema('workload-high', 800, [scheduler], { by: 'ByNamespace' })],
  // Ours: what apps depend on is no client among others.
  ['sampan-platform', schema('workload-high', 800, [group('system:sampan:platform')], { by: 'ByNamespace' })],
  ['kube-system-service-accounts', schema('workload-high', 900, [account('*')], { by: 'ByNamespace' })],
  ['service-accounts', schema('workload-low', 9000, [group('system:serviceaccounts')], { by: 'ByUser' })],
  ['global-default', schema('global-default', 9900, everybody, { by: 'ByUser' })],
]);
