import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { issueCertificate } from '#lib/certificates.ts';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import { ApiError } from '../client/client.ts';
import { createClient } from '../client/create.ts';
import { httpsTransport } from '../client/https.ts';
import { createCertificateRequests } from '../controllers/certificate-requests.ts';
import { createNodeIpamController } from '../controllers/node-ipam.ts';
import { certificateSigningRequests, nodes, secrets } from '../kinds/resources.ts';
import type { CertificateSigningRequest } from '../kinds/types/certificates.ts';
import { type JoinOptions, joinCluster } from './join.ts';

const bootstrapToken = 'abcdef.0123456789abcdef';
let plane: ControlPlane;
let root: string;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sampan-join-'));
  plane = await startControlPlane();
  await plane.start(
    createCertificateRequests({
      authority: plane.authority,
      reserved: { commonNames: [], organizations: [] },
      serverCertificates: [],
    }),
    createNodeIpamController({ clusterCidr: '10.90.0.0/16' }),
  );
  const [id, secret] = bootstrapToken.split('.');
  await plane.client.create(secrets, {
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': id ?? '',
      'token-secret': secret ?? '',
      'usage-bootstrap-authentication': 'true',
      'auth-extra-groups': 'system:bootstrappers:sampan:nodes',
    },
  });
});
after(async () => {
  await plane.close();
  await rm(root, { recursive: true });
});

function options(nodeName: string, further: Partial<JoinOptions> = {}): JoinOptions {
  const { url, ca = '' } = plane.address;
  return {
    nodeName,
    address: '192.0.2.7',
    directory: join(root, nodeName),
    server: { url, ca },
    bootstrapToken,
    signal: AbortSignal.timeout(60_000),
    log: () => {},
    ...further,
  };
}

const namesIn = (certificate: string) => new X509Certificate(certificate).subjectAltName;

const requests = async (): Promise<number> => (await plane.client.list(certificateSigningRequests)).items.length;

test('a host joins once, and then comes back from what it keeps, also while the server is away', async () => {
  const first = await joinCluster(options('a'));
  assert.equal(first.podCidr, (await plane.client.get(nodes, 'a')).spec?.podCIDR);
  assert.equal(namesIn(first.tls.certificate), 'DNS:a, IP Address:192.0.2.7');
  const connection = httpsTransport(first.transport);
  assert.equal((await createClient(connection).get(nodes, 'a')).metadata.name, 'a');
  connection.close();
  for (const file of await readdir(join(root, 'a')))
    if (file.endsWith('.pem')) assert.equal((await stat(join(root, 'a', file))).mode & 0o777, 0o600, file);
  const before = await requests();
  const away = { url: 'https://127.0.0.1:1', ca: plane.address.ca ?? '' };
  const { bootstrapToken: _once, ...later } = options('a', { server: away });
  const again = await joinCluster(later);
  assert.deepEqual([again.podCidr, again.tls], [first.podCidr, first.tls]);
  assert.equal(await requests(), before);
});

test('a certificate that ends soon is renewed by itself, one for another address is asked for anew', async () => {
  await joinCluster(options('b'));
  const identity = { commonName: 'system:node:b', organizations: ['system:nodes'] };
  // Five minutes of its life are over when it is made, and one is left.
  const old = await issueCertificate(plane.authority, { ...identity, usages: ['client'], days: 1 / 1440 });
  await writeFile(join(root, 'b', 'client.pem'), old.certificate + old.key);
  const { bootstrapToken: _none, ...known } = options('b', { address: '192.0.2.8' });
  const renewed = await joinCluster(known);
  assert.notEqual(renewed.transport.certificate, old.certificate);
  assert.ok(renewed.renewAt > Date.now() + 3_600_000);
  assert.equal(namesIn(renewed.tls.certificate), 'DNS:b, IP Address:192.0.2.8');
  const { items } = await plane.client.list(certificateSigningRequests);
  assert.equal(items.filter(({ spec }) => spec.username === 'system:node:b').length, 3);
});

test('a node whose object was removed has its range again', async () => {
  const { podCidr } = await joinCluster(options('c'));
  await plane.client.delete(nodes, 'c');
  await rm(join(root, 'c', 'serving.pem'));
  assert.equal((await joinCluster(options('c'))).podCidr, podCidr);
  assert.equal((await plane.client.get(nodes, 'c')).spec?.podCIDR, podCidr);
});

test('who has neither a certificate nor a valid token is refused, and told so', async () => {
  const { bootstrapToken: _none, ...nothing } = options('d');
  await assert.rejects(joinCluster(nothing), /no bootstrap token to ask for one: join it again/);
  await assert.rejects(
    joinCluster(options('d', { bootstrapToken: 'abcdef.0000000000000000' })),
    (error: unknown) => error instanceof ApiError && error.code === 401,
  );
});

test('a request that is denied ends the attempt', async () => {
  // Nobody approves it: it is no name of a node.
  const denied = assert.rejects(joinCluster(options('Not_A_Node')), /not today/);
  const waiting = ({ status }: CertificateSigningRequest): boolean => (status?.conditions ?? []).length === 0;
  const list = await until(plane.client, certificateSigningRequests, undefined, (all) => all.some(waiting));
  const request = list.find(waiting);
  await plane.client.request({
    method: 'PUT',
    path: `/apis/certificates.k8s.io/v1/certificatesigningrequests/${request?.metadata.name}/approval`,
    body: { ...request, status: { conditions: [{ type: 'Denied', status: 'True', message: 'not today' }] } },
  });
  await denied;
});
