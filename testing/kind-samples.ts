/** Of every built-in kind, the least that is valid: what the tests of all kinds create. */
import { builtinKinds } from '#cluster/kinds/builtin.ts';
import type { KindDefinition } from '#cluster/kinds/kind.ts';

const container = { name: 'main', image: 'a:1' };
const template = { metadata: { labels: { app: 'sample' } }, spec: { containers: [container] } };
const selector = { matchLabels: { app: 'sample' } };
const once = { spec: { containers: [container], restartPolicy: 'Never' } };
const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'sample' };
const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'sample' };
const REQUEST = Buffer.from('-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n');
const rule = { apiGroups: ['samples.example.com'], apiVersions: ['*'], resources: ['nothing'], operations: ['CREATE'] };
const webhook = {
  name: 'sample.example.com',
  clientConfig: { url: 'https://sample.example.com/' },
  rules: [rule],
  sideEffects: 'None',
  admissionReviewVersions: ['v1'],
};

/** By `group/version/resource`, without metadata. */
const SAMPLES: Readonly<Record<string, object>> = {
  '/v1/namespaces': {},
  '/v1/nodes': {},
  '/v1/pods': { spec: { containers: [container] } },
  '/v1/services': { spec: { ports: [{ port: 80 }] } },
  '/v1/configmaps': { data: { key: 'value' } },
  '/v1/secrets': { stringData: { key: 'value' } },
  '/v1/serviceaccounts': {},
  '/v1/events': { involvedObject: { kind: 'Pod', name: 'sample', namespace: 'default' }, reason: 'Tested' },
  '/v1/replicationcontrollers': { spec: { template } },
  '/v1/podtemplates': { template },
  '/v1/endpoints': { subsets: [{ addresses: [{ ip: '10.1.2.3' }], ports: [{ port: 80 }] }] },
  '/v1/limitranges': { spec: { limits: [{ type: 'Container', max: { cpu: '1' } }] } },
  '/v1/resourcequotas': { spec: { hard: { pods: '10' } } },
  '/v1/persistentvolumes': {
    spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/sample' } },
  },
  '/v1/persistentvolumeclaims': {
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  },
  'apps/v1/replicasets': { spec: { replicas: 0, selector, template } },
  'apps/v1/deployments': { spec: { replicas: 0, selector, template } },
  'apps/v1/statefulsets': { spec: { replicas: 0, selector, template, serviceName: 'sample' } },
  'apps/v1/daemonsets': { spec: { selector, template } },
  'apps/v1/controllerrevisions': { revision: 1, data: { any: 'thing' } },
  'batch/v1/jobs': { spec: { suspend: true, template: once } },
  'batch/v1/cronjobs': { spec: { schedule: '*/5 * * * *', suspend: true, jobTemplate: { spec: { template: once } } } },
  'autoscaling/v2/horizontalpodautoscalers': { spec: { scaleTargetRef, maxReplicas: 3 } },
  'autoscaling/v1/horizontalpodautoscalers': {
    spec: { scaleTargetRef, maxReplicas: 3, targetCPUUtilizationPercentage: 50 },
  },
  'policy/v1/poddisruptionbudgets': { spec: { minAvailable: 1, selector } },
  'scheduling.k8s.io/v1/priorityclasses': { value: 1000 },
  'storage.k8s.io/v1/storageclasses': { provisioner: 'sampan.dev/sample' },
  'storage.k8s.io/v1/csidrivers': { spec: {} },
  'storage.k8s.io/v1/csinodes': { spec: { drivers: [{ name: 'sample.example.com', nodeID: 'sample' }] } },
  'storage.k8s.io/v1/csistoragecapacities': { storageClassName: 'sample', nodeTopology: {}, capacity: '1Gi' },
  'storage.k8s.io/v1/volumeattachments': {
    spec: { attacher: 'sample.example.com', nodeName: 'sample', source: { persistentVolumeName: 'sample' } },
  },
  'networking.k8s.io/v1/networkpolicies': { spec: { podSelector: {} } },
  'networking.k8s.io/v1/ingresses': {
    spec: { defaultBackend: { service: { name: 'sample', port: { number: 80 } } } },
  },
  'networking.k8s.io/v1/ingressclasses': { spec: { controller: 'sampan.dev/sample' } },
  'rbac.authorization.k8s.io/v1/roles': { rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }] },
  'rbac.authorization.k8s.io/v1/clusterroles': { rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }] },
  'rbac.authorization.k8s.io/v1/rolebindings': { roleRef, subjects: [{ kind: 'User', name: 'jane' }] },
  'rbac.authorization.k8s.io/v1/clusterrolebindings': { roleRef, subjects: [{ kind: 'User', name: 'jane' }] },
  'node.k8s.io/v1/runtimeclasses': { handler: 'sample' },
  'certificates.k8s.io/v1/certificatesigningrequests': {
    spec: { request: REQUEST.toString('base64'), signerName: 'sampan.dev/sample', usages: ['client auth'] },
  },
  'discovery.k8s.io/v1/endpointslices': { addressType: 'IPv4', endpoints: [{ addresses: ['10.1.2.3'] }] },
  'coordination.k8s.io/v1/leases': { spec: { holderIdentity: 'sample' } },
  'events.k8s.io/v1/events': {
    eventTime: '2024-01-01T00:00:00.000000Z',
    reportingController: 'sampan.dev/sample',
    reportingInstance: 'sample-1',
    action: 'Tested',
    reason: 'Tested',
    type: 'Normal',
    regarding: { kind: 'Pod', name: 'sample', namespace: 'default' },
  },
  'flowcontrol.apiserver.k8s.io/v1/flowschemas': {
    spec: { priorityLevelConfiguration: { name: 'global-default' }, matchingPrecedence: 5000 },
  },
  'flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations': {
    spec: { type: 'Limited', limited: { limitResponse: { type: 'Queue', queuing: {} } } },
  },
  'apiregistration.k8s.io/v1/apiservices': {
    spec: { group: 'behind.example.com', version: 'v1', groupPriorityMinimum: 1000, versionPriority: 15 },
  },
  'apiextensions.k8s.io/v1/customresourcedefinitions': {
    spec: {
      group: 'samples.example.com',
      scope: 'Namespaced',
      names: { plural: 'samples', kind: 'Sample' },
      versions: [
        { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', properties: {} } } },
      ],
    },
  },
  'admissionregistration.k8s.io/v1/mutatingwebhookconfigurations': { webhooks: [webhook] },
  'admissionregistration.k8s.io/v1/validatingwebhookconfigurations': { webhooks: [webhook] },
  'admissionregistration.k8s.io/v1/validatingadmissionpolicies': {
    spec: { matchConstraints: { resourceRules: [rule] }, validations: [{ expression: 'true' }] },
  },
  'admissionregistration.k8s.io/v1/validatingadmissionpolicybindings': {
    spec: { policyName: 'sample', validationActions: ['Deny'] },
  },
};

/** Where what is in an object says its name. */
const NAMES: Readonly<Record<string, string>> = {
  CustomResourceDefinition: 'samples.samples.example.com',
  APIService: 'v1.behind.example.com',
};

export interface KindSample {
  kind: KindDefinition;
  /** `apps/v1/deployments` */
  title: string;
  apiVersion: string;
  /** Of the collection, in the namespace `default`. */
  path: string;
  name: string;
  object: Record<string, unknown> & { metadata: { name: string } };
}

/** Throws where a kind has none: a kind without a sample is a kind without a test. */
export function kindSamples(): KindSample[] {
  return builtinKinds
    .filter((kind) => kind.verbs?.includes('create') !== false)
    .map((kind) => {
      const title = `${kind.group}/${kind.version}/${kind.resource}`;
      const sample = SAMPLES[title];
      if (sample === undefined) throw new Error(`no sample of ${title}: add one to testing/kind-samples.ts`);
      const apiVersion = kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
      const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${apiVersion}`;
      const name = NAMES[kind.kind] ?? `sample-${kind.version}`;
      return {
        kind,
        title,
        apiVersion,
        name,
        path: kind.namespaced ? `${root}/namespaces/default/${kind.resource}` : `${root}/${kind.resource}`,
        object: { apiVersion, kind: kind.kind, metadata: { name }, ...structuredClone(sample) },
      };
    });
}
