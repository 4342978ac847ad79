import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { X509Certificate } from 'node:crypto';
import { createRequest } from '#lib/certificate-requests.ts';
import { type KeyPair, createAuthority, issueCertificate } from '#lib/certificates.ts';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import { createClient } from '../client/create.ts';
import type { Client } from '../client/client.ts';
import { certificateSigningRequests, nodes } from '../kinds/resources.ts';
import type { CertificateSigningRequest } from '../kinds/types/certificates.ts';
import type { Stored } from '../kinds/kind.ts';
import { createNodeCertificates } from './node-certificates.ts';

const CLIENT = 'kubernetes.io/kube-apiserver-client-kubelet';
const SERVING = 'kubernetes.io/kubelet-serving';
const proper = { commonName: 'system:node:worker', organizations: ['system:nodes'] };
let plane: ControlPlane;
let authority: KeyPair;
let bootstrapper: Client;
let worker: Client;
/** A node that calls itself as the platform's API. */
let impostor: Client;
const impostorName = 'api.apps.example';

before(async () => {
  plane = await startControlPlane();
  authority = await createAuthority({ commonName: 'nodes', days: 30 });
  const server = await issueCertificate(authority, {
    commonName: 'servers',
    dnsNames: ['kubernetes', '*.apps.example'],
    ips: ['192.0.2.1'],
    usages: ['server'],
    days: 1,
  });
  await plane.start(createNodeCertificates({ authority, serverCertificates: [server.certificate] }));
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
after(() => plane.close());

interface Ask {
  signerName?: string;
  usages?: string[];
  subject?: Parameters<typeof createRequest>[0];
  expirationSeconds?: number;
}

async function ask(client: Client, { signerName = CLIENT, usages, subject = proper, ...rest }: Ask): Promise<string> {
  const { request } = await createRequest(subject);
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

test('an administrator who approves what breaks the rules gets no certificate', async () => {
  const subject = { ...proper, organizations: ['system:nodes', 'system:sampan:docker-clients'] };
  const name = await ask(bootstrapper, { subject });
  const request = await plane.client.get(certificateSigningRequests, name);
  await plane.client.request({
    method: 'PUT',
    path: `/apis/certificates.k8s.io/v1/certificatesigningrequests/${name}/approval`,
    body: {
      ...request,
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      status: { conditions: [{ type: 'Approved', status: 'True', reason: 'Mistake' }] },
    },
  });
  const { status } = await when(name, ({ status: now }) => now?.conditions?.length === 2);
  assert.ok(isApproved({ ...request, status: status ?? {} }));
  assert.deepEqual(status?.conditions?.map(({ type, reason, message }) => [type, reason, message])[1], [
    'Failed',
    'SignerValidationFailure',
    'subject organization is not system:nodes',
  ]);
  assert.equal(status?.certificate, undefined);
});
