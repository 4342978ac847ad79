import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { networkPolicies } from '#cluster/kinds/resources.ts';
import type { NetworkPolicy } from '#cluster/kinds/types/networking.ts';
import type { RunningNetwork } from '../network/network.ts';
import { startNetwork } from '../network/start.ts';
import { labels } from '../resources/types.ts';
import type { Json } from './api.ts';
import { startTestCloud, type TestCloud } from './cloud.fixture.ts';
import { makeApp } from './made-app.fixture.ts';

let cloud: TestCloud;
let network: RunningNetwork;
let space: string;
const namespace = 'default-dev';

before(async () => {
  cloud = await startTestCloud();
  network = startNetwork({
    informers: cloud.informers,
    own: ['10.96.0.0/16'],
    hostAddresses: ['10.96.0.1', '192.0.2.7'],
    routerPorts: [80, 443],
    buildHosts: [{ host: '192.0.2.80', port: 8080 }],
    log: (level, message, fields) => cloud.problems.push(`${level} ${message} ${JSON.stringify(fields)}`),
  });
  await network.ready;
  space = String(((await cloud.json('GET', '/v3/spaces')).resources as Json[])[0]?.guid);
});
after(async () => {
  await network?.close();
  await cloud?.close();
});

const listed = async (path: string) => (await cloud.json('GET', path)).resources as Json[];
const one = (guid: string) => ({ data: [{ guid }] });
/** Resolves when the policy is as `look` wants it. */
const policy = (name: string, look: (policy: Stored<NetworkPolicy>) => boolean) =>
  cloud.until(`the policy ${name}`, async () => {
    const { items } = await cloud.plane.client.list(networkPolicies, { namespace });
    const found = items.find(({ metadata }) => metadata.name === name);
    return found && look(found) && found;
  });
const text = (of: Stored<NetworkPolicy>) => JSON.stringify([of.spec, of.metadata.annotations]);

test('there are the default groups, for everybody, and each space has its policies', async () => {
  const groups = await listed('/v3/security_groups?order_by=created_at');
  assert.deepEqual(
    groups.map(({ name, globally_enabled }) => [name, globally_enabled]),
    [
      ['public_networks', { running: true, staging: true }],
      ['dns', { running: true, staging: true }],
    ],
  );
  const apps = await policy('apps', () => true);
  assert.deepEqual(apps.spec?.podSelector, { matchExpressions: [{ key: labels.app, operator: 'Exists' }] });
  assert.deepEqual(apps.spec?.policyTypes, ['Ingress', 'Egress']);
  assert.deepEqual(apps.spec?.ingress, [
    { from: ['10.96.0.1', '192.0.2.7'].map((ip) => ({ ipBlock: { cidr: `${ip}/32` } })) },
  ]);
  assert.match(text(apps), /"cidr":"0\.0\.0\.0\/0","except":\[.*"10\.0\.0\.0\/8".*"192\.0\.2\.7\/32"/);
  const staging = await policy('staging', () => true);
  assert.match(text(staging), /"192\.0\.2\.80\/32"\}\}\],"ports":\[\{"protocol":"TCP","port":8080\}\]/);
  assert.doesNotMatch(text(staging), /Ingress/);
});

test('a group counts where it is bound, for what it is bound for, and no longer when it is not', async () => {
  const rules = [
    { protocol: 'tcp', destination: '198.51.100.7', ports: '5432' },
    { protocol: 'icmp', destination: '198.51.100.8', type: 8, code: -1 },
    { protocol: 'udp', destination: '198.51.100.9', ports: '514', log: true },
  ];
  const made = await cloud.call('POST', '/v3/security_groups', { name: 'database', rules });
  assert.equal(made.status, 201, made.text);
  const { guid } = made.body;
  assert.deepEqual(made.body.rules, rules);
  const path = `/v3/security_groups/${String(guid)}`;
  const again = await cloud.call('POST', '/v3/security_groups', { name: 'database' });
  assert.match(again.text, /Security group with name 'database' already exists/);
  const bad = await cloud.call('POST', '/v3/security_groups', { name: 'x', rules: [{ protocol: 'tcp' }] });
  assert.equal(bad.status, 422);
  assert.match(bad.text, /Rules\[0\]: destination must be a string/);

  await cloud.json('POST', `${path}/relationships/running_spaces`, one(space));
  const open = /198\.51\.100\.7\/32/;
  const running = await policy('apps', (of) => open.test(text(of)));
  assert.match(text(running), /icmp-egress":"\[\{\\"blocks\\":\[\{\\"cidr\\":\\"198\.51\.100\.8\/32\\"\}\]/);
  const [place = -1, ...more] = JSON.parse(
    running.metadata.annotations?.['policy.sampan.dev/log-egress'] ?? '',
  ) as number[];
  assert.deepEqual(running.spec?.egress?.[place]?.to, [{ ipBlock: { cidr: '198.51.100.9/32' } }], 'it is logged');
  assert.deepEqual(more, []);
  assert.doesNotMatch(text(await policy('staging', () => true)), open, 'builds are not meant');
  assert.deepEqual(
    (await listed(`/v3/spaces/${space}/running_security_groups`)).map(({ name }) => name),
    ['public_networks', 'dns', 'database'],
  );
  await cloud.json('PATCH', path, { rules: [{ protocol: 'all', destination: '203.0.113.0/24' }] });
  await policy('apps', (of) => !open.test(text(of)));
  await cloud.json('POST', `${path}/relationships/staging_spaces`, one(space));
  assert.equal((await cloud.call('DELETE', `${path}/relationships/running_spaces/${space}`)).status, 204);
  const gone = await cloud.call('DELETE', `${path}/relationships/running_spaces/${space}`);
  assert.match(gone.text, /Unable to unbind security group from space/);
  const seen = (await listed('/v3/security_groups?names=database'))[0];
  assert.deepEqual(seen?.relationships, { running_spaces: { data: [] }, staging_spaces: one(space) });
  await cloud.finished(await cloud.call('DELETE', path));
  assert.deepEqual(await listed('/v3/security_groups?names=database'), []);
});

test('a policy that somebody takes away comes back', async () => {
  const { metadata } = await policy('apps', () => true);
  await cloud.plane.client.delete(networkPolicies, 'apps', { namespace, preconditions: { uid: metadata.uid } });
  await policy('apps', (of) => of.metadata.uid !== metadata.uid);
});

test('an app connects to another where a network policy says so; it goes with either of them', async () => {
  const { app: front } = await makeApp(cloud, 'front', space);
  const { app: back } = await makeApp(cloud, 'back', space);
  const policies = [
    { source: { id: front }, destination: { id: back, protocol: 'tcp', ports: { start: 8080, end: 8090 } } },
  ];
  const path = '/networking/v1/external/policies';
  for (let time = 0; time < 2; time++) assert.equal((await cloud.call('POST', path, { policies })).status, 200);
  assert.deepEqual(await cloud.json('GET', `${path}?id=${front}`), { total_policies: 1, policies });
  assert.deepEqual(await cloud.json('GET', `${path}?id=nobody`), { total_policies: 0, policies: [] });
  const to = await policy(`to-${back}`, () => true);
  const pods = (guid: string) => ({ podSelector: { matchLabels: { [labels.app]: guid } } });
  assert.deepEqual(to.spec, {
    ...pods(back),
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } }, ...pods(front) }],
        ports: [{ protocol: 'TCP', port: 8080, endPort: 8090 }],
      },
    ],
  });
  await policy(`from-${front}`, () => true);
  for (const [bad, words] of [
    [{ policies: [] }, /missing policies/],
    [{ policies: [{ ...policies[0], source: { id: 'x' } }] }, /source app .* does not exist/],
    [
      { policies: [{ source: { id: front }, destination: { id: back, protocol: 'icmp' } }] },
      /invalid destination protocol/,
    ],
    [
      {
        policies: [{ source: { id: front }, destination: { id: back, protocol: 'udp', ports: { start: 9, end: 8 } } }],
      },
      /invalid port range/,
    ],
  ] as const) {
    const answer = await cloud.call('POST', path, bad);
    assert.equal(answer.status, 422, answer.text);
    assert.match(answer.text, words);
  }
  await cloud.json('POST', `${path}/delete`, { policies });
  assert.equal((await cloud.json('GET', path)).total_policies, 0);
  const absent = (name: string) =>
    cloud.until(`${name} to go`, async () => {
      const { items } = await cloud.plane.client.list(networkPolicies, { namespace });
      return !items.some(({ metadata }) => metadata.name === name);
    });
  await absent(`to-${back}`);
  await cloud.json('POST', path, { policies });
  await policy(`to-${back}`, () => true);
  await cloud.finished(await cloud.call('DELETE', `/v3/apps/${back}`));
  await absent(`from-${front}`);
  assert.equal((await cloud.json('GET', path)).total_policies, 0);
});
