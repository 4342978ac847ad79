/** What is valid and odd: it is done, and whoever asked is told, in upstream's words. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createAuthority } from '#lib/certificates.ts';
import { type Answer, type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

const CORE = '/api/v1/namespaces/default';
const APPS = '/apis/apps/v1/namespaces/default';
const BATCH = '/apis/batch/v1/namespaces/default';
const STORAGE = '/apis/storage.k8s.io/v1';
const MERGE = { 'content-type': 'application/merge-patch+json' };
const ZONE = 'failure-domain.beta.kubernetes.io/zone';
const ZONE_TEXT = 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead';
const NONE_TEXT = 'a null labelSelector results in matching no pod';
const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const container = { name: 'c', image: 'i' };
const pod = (spec: object, container: object = {}) => ({
  spec: { containers: [{ name: 'c', image: 'i', ...container }], ...spec },
});
const template = (spec: object = {}) => ({
  metadata: { labels: { a: 'b' } },
  spec: { containers: [container], ...spec },
});
const workload = (spec: object = {}) => ({ spec: { selector: { matchLabels: { a: 'b' } }, template: template(spec) } });
const volume = (spec: object) => ({
  spec: { capacity: { storage: '1' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/x' }, ...spec },
});

/** Where, what, and what is said of it. */
const ODD: readonly [string, object, ...string[]][] = [
  [`${CORE}/pods`, pod({ nodeSelector: { [ZONE]: 'x' } }), `spec.nodeSelector[${ZONE}]: ${ZONE_TEXT}`],
  [
    `${CORE}/pods`,
    pod({
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: ZONE, operator: 'Exists' }] }],
          },
        },
        podAntiAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, podAffinityTerm: { topologyKey: 'x' } }],
        },
      },
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: ZONE, whenUnsatisfiable: 'DoNotSchedule' }],
    }),
    `spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: ${ZONE} is ${ZONE_TEXT}`,
    `spec.topologySpreadConstraints[0].topologyKey: ${ZONE} is ${ZONE_TEXT}`,
    `spec.topologySpreadConstraints[0].labelSelector: ${NONE_TEXT}`,
    `spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: ${NONE_TEXT}`,
  ],
  [
    `${CORE}/pods`,
    pod({}, { resources: { limits: { memory: '200m' } } }),
    'spec.containers[0].resources.limits[memory]: fractional byte value "200m" is invalid, must be an integer',
    'spec.containers[0].resources.requests[memory]: fractional byte value "200m" is invalid, must be an integer',
  ],
  [
    `${CORE}/pods`,
    pod({}, { env: ['1', '2', '$(A)3'].map((value) => ({ name: 'A', value })) }),
    'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
  ],
  [
    `${CORE}/pods`,
    pod(
      {},
      {
        ports: [
          { containerPort: 80 },
          { containerPort: 80, hostPort: 8080 },
          { containerPort: 81, hostIP: '10.0.0.1' },
        ],
      },
    ),
    'spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]',
    'spec.containers[0].ports[2]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:81 Protocol:TCP HostIP:10.0.0.1}',
  ],
  [
    `${CORE}/pods`,
    pod({ terminationGracePeriodSeconds: -7 }),
    'spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1',
  ],
  [
    `${CORE}/pods`,
    pod({ hostAliases: [{ ip: '1.2.3.4' }, { ip: '1.2.3.4' }], imagePullSecrets: [{ name: 's' }, { name: 's' }, {}] }),
    'spec.hostAliases[1].ip: duplicate ip "1.2.3.4"',
    'spec.imagePullSecrets[1].name: duplicate name "s"',
    'spec.imagePullSecrets[2].name: invalid empty name ""',
  ],
  [
    `${CORE}/pods`,
    pod({ volumes: [{ name: 'v', gitRepo: { repository: 'r' } }] }),
    'spec.volumes[0].gitRepo: deprecated in v1.11',
  ],
  [
    `${CORE}/pods`,
    { metadata: { name: 'a.pod' }, ...pod({}) },
    `metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [${LABEL_TEXT}]`,
  ],
  [
    `${APPS}/deployments`,
    { metadata: { name: 'a.deployment' }, ...workload() },
    `metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [${LABEL_TEXT}]`,
  ],
  [
    `${APPS}/daemonsets`,
    workload({ nodeSelector: { [ZONE]: 'x' } }),
    `spec.template.spec.nodeSelector[${ZONE}]: ${ZONE_TEXT}`,
  ],
  [
    `${APPS}/statefulsets`,
    {
      spec: {
        ...workload().spec,
        volumeClaimTemplates: [
          {
            metadata: { name: 'd' },
            spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1500m' } } },
          },
        ],
      },
    },
    'spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer',
  ],
  [
    `${BATCH}/cronjobs`,
    {
      spec: {
        schedule: '@daily',
        jobTemplate: { spec: { template: template({ restartPolicy: 'Never', nodeSelector: { [ZONE]: 'x' } }) } },
      },
    },
    `spec.jobTemplate.spec.template.spec.nodeSelector[${ZONE}]: ${ZONE_TEXT}`,
  ],
  [
    `${CORE}/services`,
    { spec: { ports: [{ port: 80 }], externalIPs: ['fd00:0::1'], externalName: 'x' } },
    'spec.externalIPs[0]: IPv6 address "fd00:0::1" is not in RFC 5952 canonical format ("fd00::1"), which may cause controller apply-loops',
    'spec.externalName is ignored when spec.type is not "ExternalName"',
  ],
  [
    '/apis/networking.k8s.io/v1/namespaces/default/ingresses',
    {
      metadata: { annotations: { 'kubernetes.io/ingress.class': 'x' } },
      spec: { defaultBackend: { service: { name: 's', port: { number: 80 } } } },
    },
    `annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead`,
  ],
  [
    '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
    { addressType: 'FQDN', endpoints: [] },
    'spec.addressType: FQDN endpoints are deprecated',
  ],
  [
    '/api/v1/persistentvolumes',
    {
      metadata: { annotations: { 'volume.beta.kubernetes.io/storage-class': 'x' } },
      ...volume({ persistentVolumeReclaimPolicy: 'Recycle' }),
    },
    'metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead',
    'spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.',
  ],
  [
    `${STORAGE}/storageclasses`,
    { provisioner: 'x', allowedTopologies: [{ matchLabelExpressions: [{ key: ZONE, values: ['a'] }] }] },
    `allowedTopologies[0].matchLabelExpressions[0].key: ${ZONE_TEXT}`,
  ],
];

describe('API server: warnings', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture?.close());

  let made = 0;
  const create = async (path: string, body: object): Promise<Answer> => {
    const { metadata, ...rest } = body as { metadata?: object };
    const answer = await fixture.call('POST', path, {
      body: { metadata: { name: `odd-${made++}`, ...metadata }, ...rest },
    });
    assert.equal(answer.status, 201, answer.text);
    return answer;
  };

  test('what is odd and valid is made, and said', async () => {
    for (const [path, body, ...texts] of ODD) assert.deepEqual(warningsOf(await create(path, body)), texts, path);
  });

  test('a certificate that is no pair with its key, in the words of upstream', async () => {
    const [one, other] = [
      await createAuthority({ commonName: 'one', days: 1 }),
      await createAuthority({ commonName: 'other', days: 1 }),
    ];
    const told = async (certificate: string, key: string) => {
      const data = { 'tls.crt': certificate, 'tls.key': key };
      return warningsOf(await create(`${CORE}/secrets`, { type: 'kubernetes.io/tls', stringData: data }));
    };
    assert.deepEqual(await told(one.certificate, one.key), []);
    assert.deepEqual(await told(one.certificate, other.key), ['tls: private key does not match public key']);
    assert.deepEqual(await told('x', one.key), ['tls: failed to find any PEM data in certificate input']);
    assert.deepEqual(await told(one.certificate, one.certificate), [
      'tls: found a certificate rather than a key in the PEM for the private key',
    ]);
    assert.deepEqual(await told(one.key, one.key), [
      'tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched',
    ]);
  });

  test('an update is told of a template that it changed, not of the one that was there', async () => {
    const path = `${APPS}/deployments`;
    const { name } = (await create(path, workload())).json.metadata;
    const change = async (body: object) =>
      warningsOf(await fixture.call('PATCH', `${path}/${name}`, { body, headers: MERGE }));
    const text = `spec.template.spec.nodeSelector[${ZONE}]: ${ZONE_TEXT}`;
    assert.deepEqual(await change({ spec: { template: { spec: { nodeSelector: { [ZONE]: 'x' } } } } }), [text]);
    assert.deepEqual(await change({ metadata: { labels: { a: 'b' } } }), []);
    assert.deepEqual(await change({ spec: { replicas: 2 } }), [text]);
  });

  test('a negative grace may become what it means', async () => {
    const { name } = (await create(`${CORE}/pods`, pod({ terminationGracePeriodSeconds: -1 }))).json.metadata;
    const change = (terminationGracePeriodSeconds: number) =>
      fixture.call('PATCH', `${CORE}/pods/${name}`, {
        body: { spec: { terminationGracePeriodSeconds } },
        headers: MERGE,
      });
    assert.equal((await change(2)).status, 422);
    assert.equal((await change(1)).status, 200);
  });

  test('an owner that is named twice is named once', async () => {
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'o', uid: 'u' };
    const answer = await create(`${CORE}/configmaps`, {
      metadata: { ownerReferences: [owner, { ...owner, controller: true }, owner] },
    });
    assert.deepEqual(warningsOf(answer), [
      '.metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u',
    ]);
    assert.deepEqual(answer.json.metadata.ownerReferences, [owner, { ...owner, controller: true }]);
  });

  test("kubectl shows them; a custom object's finalizer of no domain is one", async () => {
    const group = 'odd.example.com';
    const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
    await create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      metadata: { name: `things.${group}` },
      spec: {
        group,
        scope: 'Cluster',
        names: { plural: 'things', kind: 'Thing' },
        versions: [{ name: 'v1', served: true, storage: true, schema }],
      },
    });
    const thing = { apiVersion: `${group}/v1`, kind: 'Thing', metadata: { name: 't', finalizers: ['mine', 'a.b/c'] } };
    const applied = await fixture.kubectl(['create', '-f', '-'], { input: JSON.stringify(thing) });
    assert.equal(
      applied.err.trim(),
      'Warning: metadata.finalizers: "mine": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers',
    );
    const again = await fixture.call('PATCH', `/apis/${group}/v1/things/t`, { body: { a: 1 }, headers: MERGE });
    assert.deepEqual([again.status, warningsOf(again)], [200, []]);
  });
});

/** The texts of a `Warning` header (RFC 7234, section 5.5). */
function warningsOf({ headers }: Answer): string[] {
  const texts = [...String(headers['warning'] ?? '').matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)];
  return texts.map(([, text = '']) => text.replace(/\\(.)/g, '$1'));
}
