import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createRequest } from '#lib/certificate-requests.ts';
import { exportKey, issueCertificate, loadX509 } from '#lib/certificates.ts';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import { type Kubectl, kubectlMissing, startKubectl } from '#testing/kubectl.ts';
import { createClient } from '../client/create.ts';
import { httpsTransport } from '../client/https.ts';
import type { Client } from '../client/client.ts';
import { certificateSigningRequests, nodes } from '../kinds/resources.ts';
import type { CertificateSigningRequest } from '../kinds/types/certificates.ts';
import type { Stored } from '../kinds/kind.ts';
import { createCertificateRequests } from './certificate-requests.ts';

const CLIENT = 'kubernetes.io/kube-apiserver-client-kubelet';
const SERVING = 'kubernetes.io/kubelet-serving';
const API_CLIENT = 'kubernetes.io/kube-apiserver-client';
const proper = { commonName: 'system:node:worker', organizations: ['system:nodes'] };
let plane: ControlPlane;
let kubectl: Kubectl | undefined;
let bootstrapper: Client;
let worker: Client;
/** A node that calls itself as the platform's API. */
let impostor: Client;
const impostorName = 'api.apps.example';

before(async () => {
  plane = await startControlPlane();
  const { authority } = plane;
  const server = await issueCertificate(authority, {
    commonName: 'servers',
    dnsNames: ['kubernetes', '*.apps.example'],
    ips: ['192.0.2.1'],
    usages: ['server'],
    days: 1,
  });
  await plane.start(
    createCertificateRequests({
      authority,
      reserved: {
        commonNames: ['system:apiserver'],
        organizations: ['system:sampan:docker-clients', 'system:masters'],
      },
      serverCertificates: [server.certificate],
    }),
  );
  const groups = ['system:bootstrappers', 'system:bootstrappers:sampan:nodes'];
  bootstrapper = createClient(plane.inProcess({ name: 'system:bootstrap:abcdef', groups }));
  const asNode = (name: string) =>
    createClient(plane.inProcess({ name: `system:node:${name}`, groups: ['system:nodes'] }));
  worker = asNode('worker');
  impostor = asNode(impostorName);
  for (const name of ['worker', impostorName])
    await plane.client.create(nodes, {
      metadata: { name },
      status: {
        addresses: ['192.0.2.7', '192.0.2.1', '127.0.0.1'].map((address) => ({ type: 'InternalIP', address })),
      },
    });
});
after(async () => {
  await kubectl?.close();
  await plane.close();
});

interface Ask {
  signerName?: string;
  usages?: string[];
  subject?: Parameters<typeof createRequest>[0];
  expirationSeconds?: number;
}

async function ask(client: Client, { subject = proper, ...rest }: Ask): Promise<string> {
  return await askWith(client, (await createRequest(subject)).request, rest);
}

async function askWith(
  client: Client,
  request: string,
  { signerName = CLIENT, usages, ...rest }: Omit<Ask, 'subject'>,
): Promise<string> {
  const created = await client.create(certificateSigningRequests, {
    metadata: { generateName: 'csr-' },
    spec: {
      signerName,
      request: Buffer.from(request).toString('base64'),
      usages: usages ?? ['digital signature', signerName === SERVING ? 'server auth' : 'client auth'],
      ...rest,
    },
  });
  return created.metadata.name;
}

async function when(
  name: string,
  holds: (request: Stored<CertificateSigningRequest>) => boolean,
): Promise<Stored<CertificateSigningRequest>> {
  const find = (list: Stored<CertificateSigningRequest>[]) => list.find(({ metadata }) => metadata.name === name);
  const list = await until(plane.client, certificateSigningRequests, undefined, (all) => {
    const found = find(all);
    return found !== undefined && holds(found);
  });
  return find(list) as Stored<CertificateSigningRequest>;
}

async function certificateOf(name: string): Promise<X509Certificate> {
  const { status } = await when(name, (request) => Boolean(request.status?.certificate));
  return new X509Certificate(Buffer.from(status?.certificate ?? '', 'base64'));
}

const isApproved = ({ status }: CertificateSigningRequest): boolean =>
  status?.conditions?.some(({ type }) => type === 'Approved') === true;

test('a new node gets its client certificate by its bootstrap token, and the next as itself', async () => {
  for (const client of [bootstrapper, worker]) {
    const certificate = await certificateOf(await ask(client, { expirationSeconds: 3600 }));
    assert.equal(certificate.subject, 'O=system:nodes\nCN=system:node:worker');
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2']);
    const seconds = (certificate.validToDate.getTime() - Date.now()) / 1000;
    assert.ok(seconds > 3500 && seconds <= 3601, String(seconds));
  }
});

test('a node gets a serving certificate for its own name and addresses', async () => {
  const subject = { ...proper, dnsNames: ['worker'], ips: ['192.0.2.7'] };
  const certificate = await certificateOf(await ask(worker, { signerName: SERVING, subject }));
  assert.equal(certificate.subjectAltName, 'DNS:worker, IP Address:192.0.2.7');
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
});

test('nothing else is approved', async () => {
  const node2 = { ...proper, commonName: 'system:node:other' };
  const asked = await Promise.all([
    // Those who may do more than a node.
    ask(bootstrapper, { subject: { ...proper, organizations: ['system:sampan:docker-clients'] } }),
    ask(bootstrapper, { subject: { ...proper, organizations: ['system:nodes', 'system:sampan:docker-clients'] } }),
    ask(bootstrapper, { subject: { ...proper, organizations: ['system:nodes', 'system:masters'] } }),
    ask(bootstrapper, { subject: { commonName: 'system:apiserver', organizations: ['system:nodes'] } }),
    ask(bootstrapper, { subject: { commonName: 'system:node:', organizations: ['system:nodes'] } }),
    ask(bootstrapper, { subject: { commonName: 'system:node:worker' } }),
    // Names and usages that the signer does not give.
    ask(bootstrapper, { subject: { ...proper, dnsNames: ['worker'] } }),
    ask(bootstrapper, { subject: { ...proper, ips: ['192.0.2.7'] } }),
    ask(bootstrapper, { usages: ['digital signature', 'client auth', 'server auth'] }),
    ask(bootstrapper, { usages: ['client auth'] }),
    // Another node's, another's addresses, the API server's.
    ask(worker, { subject: node2 }),
    ask(worker, { signerName: SERVING, subject: { ...node2, dnsNames: ['other'] } }),
    ask(worker, { signerName: SERVING, subject: { ...proper, ips: ['192.0.2.8'] } }),
    ask(worker, { signerName: SERVING, subject: { ...proper, ips: ['192.0.2.1'] } }),
    ask(worker, { signerName: SERVING, subject: { ...proper, dnsNames: ['kubernetes'] } }),
    ask(worker, { signerName: SERVING, subject: { ...proper, ips: ['127.0.0.1'] } }),
    ask(impostor, {
      signerName: SERVING,
      subject: { ...proper, commonName: `system:node:${impostorName}`, dnsNames: [impostorName] },
    }),
    ask(worker, { signerName: SERVING, subject: proper }),
    ask(bootstrapper, { signerName: SERVING, subject: { ...proper, dnsNames: ['worker'] } }),
    ask(bootstrapper, { signerName: 'kubernetes.io/kube-apiserver-client' }),
  ]);
  // What was asked after all of them is decided after them: a worker of the queue for each is not more than there are.
  await certificateOf(await ask(worker, {}));
  await plane.restartControllers();
  await certificateOf(await ask(worker, {}));
  const { items } = await plane.client.list(certificateSigningRequests);
  assert.equal(items.filter(({ metadata }) => asked.includes(metadata.name)).length, asked.length);
  for (const { metadata, spec, status } of items)
    if (asked.includes(metadata.name)) assert.deepEqual(status, {}, `${metadata.name} ${JSON.stringify(spec)}`);
});

/** As an administrator does it by hand. */
async function approve(name: string, further: object = {}): Promise<void> {
  const request = await plane.client.get(certificateSigningRequests, name);
  await plane.client.request({
    method: 'PUT',
    path: `/apis/certificates.k8s.io/v1/certificatesigningrequests/${name}/approval`,
    body: {
      ...request,
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      status: { conditions: [{ type: 'Approved', status: 'True', reason: 'ByHand', ...further }] },
    },
  });
}

test('an administrator who approves what breaks the rules gets no certificate', async () => {
  const client = { commonName: 'jane', organizations: ['team'] };
  const dockers = 'system:sampan:docker-clients';
  const breaking: [Ask, string][] = [
    [{ subject: { ...proper, organizations: ['system:nodes', dockers] } }, 'subject organization is not system:nodes'],
    [{ subject: { ...proper, emails: ['a@example.com'] } }, 'Email subjectAltNames are not allowed'],
    [{ subject: { ...proper, uris: ['https://a/'] } }, 'URI subjectAltNames are not allowed'],
    [
      { signerName: API_CLIENT, subject: { ...client, organizations: ['team', dockers] } },
      `subject organization ${dockers} is reserved`,
    ],
    [
      { signerName: API_CLIENT, subject: { ...client, commonName: 'system:apiserver' } },
      'subject common name system:apiserver is reserved',
    ],
    [
      { signerName: API_CLIENT, subject: client, usages: ['client auth', 'server auth'] },
      'invalid usage for client certificate: server auth',
    ],
    [
      { signerName: API_CLIENT, subject: client, usages: ['digital signature'] },
      'missing required usage for client certificate: client auth',
    ],
  ];
  for (const [asked, message] of breaking) {
    const name = await ask(bootstrapper, asked);
    await approve(name);
    const request = await when(name, ({ status: now }) => now?.conditions?.length === 2);
    assert.ok(isApproved(request));
    const [approved, failed] = request.status?.conditions ?? [];
    assert.ok(approved?.lastUpdateTime && approved.lastTransitionTime, 'the server says when');
    assert.deepEqual(
      [failed?.type, failed?.reason, failed?.message],
      ['Failed', 'SignerValidationFailure', message],
      JSON.stringify(asked),
    );
    assert.equal(request.status?.certificate, undefined);
  }
});

test('nobody asks for the group of those who may do everything', async () => {
  const subject = { commonName: 'jane', organizations: ['system:masters'] };
  await assert.rejects(
    ask(plane.client, { signerName: API_CLIENT, subject }),
    /use of kubernetes.io\/kube-apiserver-client signer with system:masters group is not allowed/,
  );
});

test('a client with a key of RSA gets what it asked for, when it was approved', async () => {
  const x509 = await loadX509();
  const RSA = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(
    { ...RSA, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
    true,
    ['sign', 'verify'],
  );
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=robot',
    keys,
    signingAlgorithm: RSA,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'email', value: 'robot@example.com' }])],
  });
  const usages = ['digital signature', 'key encipherment', 'client auth'];
  const asked = { signerName: API_CLIENT, usages, expirationSeconds: 3600 };
  const name = await askWith(worker, request.toString('pem'), asked);
  await approve(name);
  const certificate = await certificateOf(name);
  assert.equal(certificate.subject, 'CN=robot');
  assert.equal(certificate.subjectAltName, 'email:robot@example.com');
  assert.ok(certificate.checkPrivateKey(createPrivateKey(await exportKey(keys.privateKey))));
});

test('what was decided goes an hour later, and what nobody signed stays', async () => {
  const anHourAgo = { lastUpdateTime: new Date(Date.now() - 3_601_000).toISOString() };
  const subject = { commonName: 'jane' };
  const others = await ask(worker, { signerName: 'example.com/signer', subject });
  await approve(others, anHourAgo);
  const ours = await ask(worker, { signerName: API_CLIENT, subject });
  await approve(ours, anHourAgo);
  await until(plane.client, certificateSigningRequests, undefined, (all) =>
    all.every(({ metadata }) => metadata.name !== ours),
  );
  assert.ok(isApproved(await plane.client.get(certificateSigningRequests, others)));
});

test('kubectl approves and denies', { skip: kubectlMissing }, async () => {
  kubectl = await startKubectl(plane);
  const { request, key } = await createRequest({ commonName: 'jane', organizations: ['team', 'other'] });
  const asked = (name: string) => ({
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name },
    spec: { signerName: API_CLIENT, request: Buffer.from(request).toString('base64'), usages: ['client auth'] },
  });
  await kubectl.apply(asked('jane'));
  await kubectl.apply(asked('denied'));
  assert.match(await kubectl.run('certificate', 'approve', 'jane'), /jane approved/);
  assert.match(await kubectl.run('certificate', 'deny', 'denied'), /denied denied/);
  const certificate = (await certificateOf('jane')).toString();
  const transport = httpsTransport({ ...plane.address, certificate, key });
  try {
    const review = await createClient(transport).request<{
      status: { userInfo: { username: string; groups: string[] } };
    }>({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    });
    assert.deepEqual(review.status.userInfo, { username: 'jane', groups: ['team', 'other', 'system:authenticated'] });
  } finally {
    transport.close();
  }
  const table = await kubectl.run('get', 'csr');
  assert.match(table, /^jane .* admin .* Approved,Issued$/m);
  assert.match(table, /^denied .* admin .* Denied$/m);
  await assert.rejects(kubectl.run('certificate', 'approve', 'denied'), /mutually exclusive|Denied/);
});
