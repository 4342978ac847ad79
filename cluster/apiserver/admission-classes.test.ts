/** What classes and owners have to do with a new object; and certificates that are asked for. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import type { KeyPair } from '#lib/certificates.ts';

const MERGE = { 'content-type': 'application/merge-patch+json' };
const CLAIMS = '/api/v1/namespaces/default/persistentvolumeclaims';
const PODS = '/api/v1/namespaces/default/pods';
const SIGNING = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

describe('API server: admission by classes, owners and signers', () => {
  let fixture: ApiFixture;
  let jane: KeyPair;
  before(async () => {
    fixture = await apiFixture({ protectStorage: true });
    jane = await fixture.issue('jane');
  });
  after(() => fixture.close());

  const post = (path: string, body: object, as?: KeyPair) =>
    fixture.call('POST', path, { body, ...(as === undefined ? {} : { as }) });
  const patch = (path: string, body: object, as?: KeyPair) =>
    fixture.call('PATCH', path, { body, headers: MERGE, ...(as === undefined ? {} : { as }) });
  const kubectl = async (...args: string[]) => {
    const { code, err } = await fixture.kubectl(args);
    assert.equal(code, 0, err);
  };
  const claim = (name: string, more: object = {}) => ({
    metadata: { name },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...more },
  });

  test('a claim gets the default StorageClass, is protected, and grows where its class says so', async () => {
    const classes = '/apis/storage.k8s.io/v1/storageclasses';
    const before = await post(CLAIMS, claim('before'));
    assert.equal((before.json['spec'] as { storageClassName?: string }).storageClassName, undefined);
    const annotations = { 'storageclass.kubernetes.io/is-default-class': 'true' };
    await post(classes, { metadata: { name: 'usual', annotations }, provisioner: 'p', allowVolumeExpansion: true });
    await post(classes, { metadata: { name: 'stiff' }, provisioner: 'p' });
    const made = await post(CLAIMS, claim('a'));
    assert.equal((made.json['spec'] as { storageClassName: string }).storageClassName, 'usual');
    assert.deepEqual(made.json.metadata.finalizers, ['kubernetes.io/pvc-protection']);
    const none = await post(CLAIMS, claim('none', { storageClassName: '' }));
    assert.equal((none.json['spec'] as { storageClassName: string }).storageClassName, '');
    const grow = (name: string) =>
      patch(`${CLAIMS}/${name}`, { spec: { resources: { requests: { storage: '2Gi' } } } });
    assert.equal((await grow('a')).status, 422, 'only one that is bound grows');
    await post(CLAIMS, claim('stiff', { storageClassName: 'stiff' }));
    for (const name of ['a', 'stiff']) await patch(`${CLAIMS}/${name}/status`, { status: { phase: 'Bound' } });
    assert.match((await grow('stiff')).json.message, /the storageclass that provisions the pvc must support resize$/);
    const grown = await grow('a');
    assert.equal(grown.status, 200, grown.json.message);
  });

  test('an Ingress gets the default IngressClass', async () => {
    const annotations = { 'ingressclass.kubernetes.io/is-default-class': 'true' };
    await post('/apis/networking.k8s.io/v1/ingressclasses', {
      metadata: { name: 'web', annotations },
      spec: { controller: 'example.com/web' },
    });
    const spec = { defaultBackend: { service: { name: 's', port: { number: 80 } } } };
    const made = await post('/apis/networking.k8s.io/v1/namespaces/default/ingresses', {
      metadata: { name: 'i' },
      spec,
    });
    assert.equal((made.json['spec'] as { ingressClassName: string }).ingressClassName, 'web');
  });

  test('a RuntimeClass brings its overhead and its place', async () => {
    await post('/apis/node.k8s.io/v1/runtimeclasses', {
      metadata: { name: 'heavy' },
      handler: 'h',
      overhead: { podFixed: { cpu: '100m' } },
      scheduling: { nodeSelector: { kind: 'big' } },
    });
    const pod = (name: string, more: object) => ({
      metadata: { name },
      spec: { containers: [{ name: 'c', image: 'i' }], ...more },
    });
    const made = await post(PODS, pod('r', { runtimeClassName: 'heavy' }));
    const spec = made.json['spec'] as { overhead: object; nodeSelector: object };
    assert.deepEqual([spec.overhead, spec.nodeSelector], [{ cpu: '100m' }, { kind: 'big' }]);
    const refused = async (more: object) => (await post(PODS, pod('x', more))).json.message;
    assert.match(await refused({ runtimeClassName: 'none' }), /pod rejected: RuntimeClass "none" not found$/);
    assert.match(
      await refused({ overhead: { cpu: '1' } }),
      /pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead$/,
    );
    assert.match(
      await refused({ runtimeClassName: 'heavy', nodeSelector: { kind: 'small' } }),
      /pod rejected: conflict: runtimeClass\.scheduling\.nodeSelector/,
    );
  });

  test('to block the deletion of an owner takes the right to hold it', async () => {
    await kubectl('create', 'role', 'maps', '--verb=create', '--resource=configmaps');
    await kubectl('create', 'rolebinding', 'maps', '--role=maps', '--user=jane');
    const secret = await post('/api/v1/namespaces/default/secrets', { metadata: { name: 'owner' } });
    const owned = (name: string, blockOwnerDeletion: boolean) => ({
      metadata: {
        name,
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Secret', name: 'owner', uid: secret.json.metadata.uid, blockOwnerDeletion },
        ],
      },
    });
    const maps = '/api/v1/namespaces/default/configmaps';
    assert.equal((await post(maps, owned('free', false), jane)).status, 201);
    const refused = await post(maps, owned('held', true), jane);
    assert.match(
      refused.json.message,
      /cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on/,
    );
    await kubectl('create', 'role', 'holder', '--verb=update', '--resource=secrets/finalizers');
    await kubectl('create', 'rolebinding', 'holder', '--role=holder', '--user=jane');
    assert.equal((await post(maps, owned('held', true), jane)).status, 201);
  });

  test('certificates: nobody asks for the group of all rights; approving and signing are rights on the signer', async () => {
    const request = (subject: string) =>
      execFileSync(
        'openssl',
        [
          'req',
          '-new',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:P-256',
          '-nodes',
          '-keyout',
          '/dev/null',
          '-subj',
          subject,
        ],
        { stdio: ['ignore', 'pipe', 'ignore'] },
      ).toString('base64');
    const body = (name: string, subject: string) => ({
      metadata: { name },
      spec: { request: request(subject), signerName: 'kubernetes.io/kube-apiserver-client', usages: ['client auth'] },
    });
    const masters = await post(SIGNING, body('masters', '/O=system:masters/CN=eve'));
    assert.match(
      masters.json.message,
      /use of kubernetes\.io\/kube-apiserver-client signer with system:masters group is not allowed$/,
    );
    const plain = await post(SIGNING, body('plain', '/O=dev/CN=jane'));
    assert.equal(plain.status, 201, plain.json.message);
    await kubectl(
      'create',
      'clusterrole',
      'csr',
      '--verb=get,update,patch',
      '--resource=certificatesigningrequests,certificatesigningrequests/approval,certificatesigningrequests/status',
    );
    await kubectl('create', 'clusterrolebinding', 'csr', '--clusterrole=csr', '--user=jane');
    const approve = () => fixture.kubectl(['certificate', 'approve', 'plain'], { as: jane });
    assert.match(
      (await approve()).err,
      /user not permitted to approve requests with signerName "kubernetes\.io\/kube-apiserver-client"/,
    );
    await kubectl(
      'create',
      'clusterrolebinding',
      'approver',
      '--clusterrole=system:certificates.k8s.io:kube-apiserver-client-approver',
      '--user=jane',
    );
    const approved = await approve();
    assert.equal(approved.code, 0, approved.err);
    const signed = await patch(
      `${SIGNING}/plain/status`,
      { status: { certificate: Buffer.from('x').toString('base64') } },
      jane,
    );
    assert.match(signed.json.message, /user not permitted to sign requests with signerName/);
  });
});
