/** The rules of a node, whole, and what a pod that comes or goes changes in them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { matchesGolden } from '#testing/golden.ts';
import type { Stored } from '../../kinds/kind.ts';
import type { NetworkPolicy, NetworkPolicySpec } from '../../kinds/types/networking.ts';
import { difference, replacement } from '../services/table.ts';
import type { PodFacts } from './policy.ts';
import { Selections } from './selections.ts';
import { renderPolicies } from './table.ts';

const RESOLVER = '10.87.0.10';
const families = [4] as const;
const logs = true;
const pod = (namespace: string, name: string, ip: string, more: Partial<PodFacts> = {}): PodFacts => ({
  uid: `${namespace}-${name}`,
  namespace,
  labels: { pod: name },
  ips: [ip],
  isHere: true,
  ports: [],
  ...more,
});
const policy = (
  name: string,
  spec: NetworkPolicySpec,
  annotations: Record<string, string> = {},
): Stored<NetworkPolicy> => ({
  metadata: { name, namespace: 'x', uid: name, resourceVersion: '1', creationTimestamp: '', annotations },
  spec,
});
const web = { name: 'http', protocol: 'tcp', port: 8080 };

function selectionsOf(...pods: PodFacts[]): Selections {
  const selections = new Selections();
  for (const name of ['x', 'y']) selections.setNamespace(name, { ns: name });
  for (const one of pods) selections.setPod(one);
  return selections;
}

const policies = [
  policy('deny-all', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }),
  policy('allow-web', {
    podSelector: { matchLabels: { pod: 'a' } },
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [{ namespaceSelector: { matchLabels: { ns: 'y' } }, podSelector: { matchLabels: { pod: 'a' } } }],
        ports: [
          { port: 'http', protocol: 'TCP' },
          { port: 81, protocol: 'TCP' },
        ],
      },
      { from: [{ ipBlock: { cidr: '192.0.2.77/24', except: ['192.0.2.128/25', '192.0.2.64/26'] } }] },
      { from: [{ ipBlock: { cidr: 'fd00::/8' } }] },
    ],
  }),
  policy('names', {
    podSelector: { matchExpressions: [{ key: 'pod', operator: 'In', values: ['a', 'b'] }] },
    policyTypes: ['Egress'],
    egress: [
      {
        to: [{ namespaceSelector: {}, podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } }],
        ports: [
          { port: 'dns', protocol: 'UDP' },
          { port: 53, protocol: 'TCP' },
        ],
      },
      { ports: [{ port: 32_000, endPort: 32_768, protocol: 'UDP' }, { protocol: 'SCTP' }] },
    ],
  }),
];
const policiesOf = (namespace: string) => (namespace === 'x' ? policies : []);
const pods = [
  pod('x', 'a', '10.86.0.2', { ports: [web] }),
  pod('x', 'b', '10.86.0.3'),
  pod('x', 'c', '10.86.0.4'),
  pod('y', 'a', '10.86.0.5'),
  pod('y', 'far', '10.86.7.5', { isHere: false, labels: { pod: 'a' } }),
];

test('the whole table', () => {
  const table = renderPolicies({ policiesOf, selections: selectionsOf(...pods), resolver: RESOLVER, families, logs });
  matchesGolden(join(import.meta.dirname, 'testdata/table.nft'), replacement('sampan-golden.policy', table));
});

test('where pods have IPv6 it holds for both families, and a block for its own', () => {
  const both = (namespace: string, name: string, place: number, more: Partial<PodFacts> = {}): PodFacts =>
    pod(namespace, name, '', { ips: [`10.86.0.${place}`, `fd00::${place}`], ...more });
  const selections = selectionsOf(both('x', 'a', 2, { ports: [web] }), both('x', 'b', 3), both('y', 'a', 5));
  const table = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families: [4, 6], logs });
  const script = replacement('sampan-golden.policy', table);
  matchesGolden(join(import.meta.dirname, 'testdata/dual-stack.nft'), script);
  const check = spawnSync('nft', ['--check', '-f', '-'], { input: script, encoding: 'utf8' });
  assert.deepEqual([check.stderr, check.status], ['', 0]);
});

test('a pod that comes or goes changes elements alone', () => {
  const selections = selectionsOf(...pods);
  const before = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs });
  selections.setPod(pod('y', 'a2', '10.86.0.9', { labels: { pod: 'a' } }));
  const peer = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs });
  assert.match(difference('t', before, peer), /^add element inet t pods-\w+ \{ 10\.86\.0\.9 \}\n$/);
  selections.setPod(pod('x', 'c2', '10.86.0.8', { labels: { pod: 'c' } }));
  const own = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs });
  assert.deepEqual(
    difference('t', peer, own)
      .trim()
      .split('\n')
      .map((line) => line.replace(/(to|from)-\w+/, '$1')),
    [
      'add element inet t entering { 10.86.0.8 : goto to }',
      'add element inet t leaving { 10.86.0.8 : goto from }',
      'add element inet t selves { 10.86.0.8 . 10.86.0.8 }',
    ],
  );
  selections.removePod('x-c2');
  selections.removePod('y-a2');
  const after = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs });
  assert.ok(
    difference('t', own, after)
      .split('\n')
      .every((line) => line === '' || line.startsWith('delete element')),
  );
  assert.equal(difference('t', before, after), '');
});

test('a namespace that gets other labels has other pods allowed', () => {
  const selections = selectionsOf(...pods);
  const before = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs });
  selections.setNamespace('y', { ns: 'z' });
  const after = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs });
  assert.match(difference('t', before, after), /^delete element inet t pods-\w+ \{ 10\.86\.0\.5, 10\.86\.7\.5 \}\n$/);
  selections.setNamespace('y', undefined);
  assert.equal(
    difference('t', after, renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs })),
    '',
  );
});

test('who comes later has an address that two claim', () => {
  const [first = pod('x', 'a', '')] = pods;
  const selections = selectionsOf(first, pod('y', 'new', first.ips[0] ?? ''));
  const { elements } = renderPolicies({ policiesOf, selections, resolver: RESOLVER, families, logs }).get(
    'entering',
  ) as {
    elements: ReadonlyMap<string, string>;
  };
  assert.deepEqual([...elements], [], 'no policy is about the newer one');
});

test('types that are not said: ingress, and egress where there are rules of it', () => {
  const of = (spec: NetworkPolicySpec) => {
    const all = () => [policy('p', spec)];
    const table = renderPolicies({
      policiesOf: all,
      selections: selectionsOf(...pods.slice(0, 1)),
      resolver: RESOLVER,
      families,
      logs,
    });
    return [...table.keys()].filter((name) => /^(in|out)-/.test(name)).map((name) => name.split('-')[0]);
  };
  assert.deepEqual(of({ podSelector: {} }), ['in']);
  assert.deepEqual(of({ podSelector: {}, egress: [{}] }), ['out', 'in']);
  assert.deepEqual(of({ podSelector: {}, policyTypes: ['Egress'] }), ['out']);
});

test('what is to be logged is, before anything lets it out, within one limit for each policy; where the kernel cannot, it is let out', () => {
  const block = (cidr: string) => ({ to: [{ ipBlock: { cidr } }], ports: [{ protocol: 'TCP', port: 443 }] });
  const ping = { blocks: [{ cidr: '192.0.2.3/32' }], type: 8, code: -1, log: true };
  const all = () => [
    policy(
      'p',
      { podSelector: {}, policyTypes: ['Egress'], egress: [{}, block('192.0.2.1/32'), block('192.0.2.2/32')] },
      { 'policy.sampan.dev/log-egress': '[1,7,"0"]', 'policy.sampan.dev/icmp-egress': JSON.stringify([ping]) },
    ),
  ];
  const render = (can: boolean) =>
    renderPolicies({
      policiesOf: all,
      selections: selectionsOf(...pods.slice(0, 1)),
      resolver: RESOLVER,
      families,
      logs: can,
    });
  const rulesOf = (table: ReturnType<typeof render>) =>
    [...table].flatMap(([name, object]) => (/^(out|log)-/.test(name) && object.kind === 'chain' ? object.rules : []));
  const accepts = [
    'accept',
    'ip daddr 192.0.2.1/32 tcp dport 443 accept',
    'ip daddr 192.0.2.2/32 tcp dport 443 accept',
    'ip daddr 192.0.2.3/32 icmp type 8 accept',
  ];
  const table = render(true);
  const [limit, first, second, ...rest] = rulesOf(table);
  assert.equal(limit, 'ct state new limit rate 100/second log prefix "OK_x/p "');
  assert.match(String(first), /^ip daddr 192\.0\.2\.1\/32 tcp dport 443 jump log-\w+$/);
  assert.match(String(second), /^ip daddr 192\.0\.2\.3\/32 icmp type 8 jump log-\w+$/);
  assert.deepEqual(rest, accepts);
  const check = spawnSync('nft', ['--check', '-f', '-'], { input: replacement('t', table), encoding: 'utf8' });
  assert.deepEqual([check.stderr, check.status], ['', 0]);
  assert.deepEqual(rulesOf(render(false)), accepts);
});

test('whatever is in an object, only addresses, ports and names become a part of a script', () => {
  const evil = '1.1.1.1/8 accept; flush ruleset';
  const spec = {
    podSelector: {},
    ingress: [
      { from: [{ ipBlock: { cidr: evil } }, { ipBlock: { cidr: '10.0.0.0/8', except: [evil] } }] },
      { ports: [{ port: 'x; flush ruleset' }, { port: 80, endPort: '90; flush ruleset' }, { protocol: 'TCP; flush' }] },
    ],
  } as unknown as NetworkPolicySpec;
  const all = () => [policy('p', spec)];
  const text = difference(
    't',
    new Map(),
    renderPolicies({
      policiesOf: all,
      selections: selectionsOf(...pods.slice(0, 1)),
      resolver: RESOLVER,
      families,
      logs,
    }),
  );
  assert.doesNotMatch(text, /flush/);
  assert.doesNotMatch(text, /add rule inet t in-/);
});
