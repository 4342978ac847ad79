/** Which families a Service gets, by what it says and by what the cluster has: the rules of Kubernetes' page on dual-stack. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

let dual: ApiFixture;
let single: ApiFixture;
before(async () => {
  dual = await apiFixture({ serviceCidr6: 'fd00:96::/112' });
  single = await apiFixture();
});
after(async () => {
  await dual.close();
  await single.close();
});

const LIST = '/api/v1/namespaces/default/services';
const ports = [{ port: 80 }];
interface Families {
  ipFamilyPolicy?: string;
  ipFamilies?: string[];
  clusterIPs?: string[];
  clusterIP?: string;
}
let made = 0;

async function create(fixture: ApiFixture, spec: object): Promise<{ name: string; spec: Families }> {
  const name = `s${made++}`;
  const answer = await fixture.call('POST', LIST, { body: { metadata: { name }, spec: { ports, ...spec } } });
  assert.equal(answer.status, 201, answer.text);
  return { name, spec: answer.json['spec'] as Families };
}

async function refused(fixture: ApiFixture, spec: object): Promise<string> {
  const body = { metadata: { name: `s${made++}` }, spec: { ports, ...spec } };
  const answer = await fixture.call('POST', LIST, { body });
  assert.equal(answer.status, 422, answer.text);
  return answer.json.message;
}

async function patch(name: string, spec: object, status = 200): Promise<Families & { message: string }> {
  const headers = { 'content-type': 'application/merge-patch+json' };
  const answer = await dual.call('PATCH', `${LIST}/${name}`, { body: { spec }, headers });
  assert.equal(answer.status, status, answer.text);
  return { ...(answer.json['spec'] as Families), message: answer.json.message };
}

const shape = ({ ipFamilyPolicy, ipFamilies, clusterIPs = [] }: Families): unknown[] => [
  ipFamilyPolicy,
  ipFamilies,
  clusterIPs.map((address) => (address === 'None' ? address : address.includes(':') ? 6 : 4)),
];

test('what is not said is one family, the cluster’s first', async () => {
  for (const fixture of [dual, single])
    assert.deepEqual(shape((await create(fixture, {})).spec), ['SingleStack', ['IPv4'], [4]]);
});

test('two families where both are wanted, in the order that is said', async () => {
  const required = { ipFamilyPolicy: 'RequireDualStack' };
  const preferred = { ipFamilyPolicy: 'PreferDualStack' };
  assert.deepEqual(shape((await create(dual, preferred)).spec), ['PreferDualStack', ['IPv4', 'IPv6'], [4, 6]]);
  assert.deepEqual(shape((await create(single, preferred)).spec), ['PreferDualStack', ['IPv4'], [4]]);
  assert.deepEqual(shape((await create(dual, { ...required, ipFamilies: ['IPv6'] })).spec), [
    'RequireDualStack',
    ['IPv6', 'IPv4'],
    [6, 4],
  ]);
  const { spec } = await create(dual, {
    ...required,
    clusterIP: 'fd00:96::77',
    clusterIPs: ['fd00:96::77', '10.96.0.77'],
  });
  assert.deepEqual([spec.clusterIP, spec.ipFamilies], ['fd00:96::77', ['IPv6', 'IPv4']]);
  assert.match(await refused(dual, { clusterIP: 'fd00:96::77' }), /provided IP is already allocated/);
  assert.deepEqual(shape((await create(dual, { ipFamilies: ['IPv6'] })).spec), ['SingleStack', ['IPv6'], [6]]);
});

test('without addresses of its own: those of its pods, or of whoever writes its endpoints', async () => {
  const headless = { clusterIP: 'None' };
  const selector = { app: 'web' };
  assert.deepEqual(shape((await create(dual, { ...headless, selector })).spec), ['SingleStack', ['IPv4'], ['None']]);
  assert.deepEqual(shape((await create(dual, { ...headless, selector, ipFamilyPolicy: 'PreferDualStack' })).spec), [
    'PreferDualStack',
    ['IPv4', 'IPv6'],
    ['None'],
  ]);
  for (const fixture of [dual, single])
    assert.deepEqual(shape((await create(fixture, headless)).spec), ['RequireDualStack', ['IPv4', 'IPv6'], ['None']]);
});

test('what cannot be is refused in upstream’s words', async () => {
  const cases: [ApiFixture, object, RegExp][] = [
    [single, { ipFamilyPolicy: 'RequireDualStack' }, /spec\.ipFamilyPolicy: .*not configured for dual-stack services/],
    [single, { ipFamilies: ['IPv6'] }, /spec\.ipFamilies\[0\]: .*not configured on this cluster/],
    [single, { clusterIP: 'fd00:96::5' }, /spec\.clusterIPs\[0\]: .*IPv6 is not configured on this cluster/],
    [
      dual,
      { ipFamilies: ['IPv4', 'IPv6'] },
      /must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families/,
    ],
    [dual, { ipFamilies: ['IPv4', 'IPv4'] }, /spec\.ipFamilies\[1\]: Duplicate value/],
    [dual, { ipFamilies: ['IPv5'] }, /spec\.ipFamilies\[0\]: Unsupported value: "IPv5"/],
    [dual, { ipFamilyPolicy: 'Dual' }, /spec\.ipFamilyPolicy: Unsupported value: "Dual"/],
    [
      dual,
      { clusterIP: '10.96.0.9', ipFamilies: ['IPv6'] },
      /expected an IPv6 value as indicated by `ipFamilies\[0\]`/,
    ],
    [dual, { clusterIP: '10.96.0.9', clusterIPs: ['10.96.0.8'] }, /first value must match `clusterIP`/],
    [
      dual,
      { ipFamilyPolicy: 'RequireDualStack', clusterIP: '10.96.0.9', clusterIPs: ['10.96.0.9', '10.96.0.8'] },
      /no more than one IP for each IP family/,
    ],
    [dual, { clusterIP: 'fd00:97::5' }, /not in the valid range fd00:96::\/112/],
  ];
  for (const [fixture, spec, words] of cases) assert.match(await refused(fixture, spec), words, JSON.stringify(spec));
});

test('it changes between one family and two where its policy says so, and keeps its first address', async () => {
  const { name, spec } = await create(dual, {});
  const [first = ''] = spec.clusterIPs ?? [];
  const grown = await patch(name, { ipFamilyPolicy: 'RequireDualStack' });
  assert.deepEqual(shape(grown), ['RequireDualStack', ['IPv4', 'IPv6'], [4, 6]]);
  assert.equal(grown.clusterIPs?.[0], first);
  // To leave the second out says nothing of the policy.
  assert.match(
    (await patch(name, { clusterIPs: [first], ipFamilies: ['IPv4'] }, 422)).message,
    /must be 'SingleStack' to release the secondary cluster IP/,
  );
  assert.match(
    (await patch(name, { ipFamilies: ['IPv6', 'IPv4'] }, 422)).message,
    /may not change once set|expected an/,
  );
  const second = grown.clusterIPs?.[1] ?? '';
  const shrunk = await patch(name, { ipFamilyPolicy: 'SingleStack' });
  assert.deepEqual(shape(shrunk), ['SingleStack', ['IPv4'], [4]]);
  // What it gave back can be had.
  await create(dual, { clusterIP: second });
});

test('who applies a manifest that knows of one address changes nothing', async () => {
  const { name, spec } = await create(dual, { ipFamilyPolicy: 'PreferDualStack' });
  const body = {
    metadata: { name, labels: { again: 'yes' } },
    spec: { ports, clusterIP: spec.clusterIP, ipFamilyPolicy: 'PreferDualStack' },
  };
  const answer = await dual.call('PUT', `${LIST}/${name}`, { body });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual((answer.json['spec'] as Families).clusterIPs, spec.clusterIPs);
});
