// Nodes' agents are stood in for (`testing/summary-agent.ts`), so that what they say is known.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { quantityValue } from '#cluster/kinds/quantity.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kubectlMissing } from '#testing/kubectl.ts';
import { type SummaryAgent, summaryAgent } from '#testing/summary-agent.ts';

const METRICS = '/apis/metrics.k8s.io/v1beta1';
const MIB = 1024 * 1024;

interface Metrics {
  window: string;
  containers: { name: string; usage: { cpu: string; memory: string } }[];
}

describe('API server: metrics.k8s.io', () => {
  let fixture: ApiFixture;
  let agent: SummaryAgent;
  const warnings: string[] = [];

  async function node(name: string, port: number, ready = 'True'): Promise<void> {
    const status = {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
      allocatable: { cpu: '4', memory: '1Gi' },
      conditions: [{ type: 'Ready', status: ready }],
    };
    await fixture.call('POST', '/api/v1/nodes', { body: { metadata: { name, labels: { pool: name } }, status } });
  }

  async function pod(name: string, nodeName: string, containers: string[]): Promise<void> {
    const spec = { nodeName, containers: containers.map((one) => ({ name: one, image: 'i' })) };
    const path = '/api/v1/namespaces/default/pods';
    await fixture.call('POST', path, { body: { metadata: { name, labels: { app: name } }, spec } });
    const { status } = await fixture.call('PATCH', `${path}/${name}/status`, {
      body: { status: { phase: 'Running' } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(status, 200);
  }

  before(async () => {
    fixture = await apiFixture({ log: (_level, message) => warnings.push(message) });
    const identity = await fixture.issue('system:node:n1', ['system:nodes']);
    agent = await summaryAgent('n1', identity, fixture.authority.certificate);
    await node('n1', agent.port);
    await node('silent', 1);
    await node('lost', 1, 'Unknown');
    await pod('web', 'n1', ['main', 'side']);
    await pod('db', 'n1', ['main']);
    await pod('elsewhere', 'silent', ['main']);
    agent.use('default/web/main', { cores: 0.5, memoryBytes: 64 * MIB });
    agent.use('default/web/side', { cores: 0.1, memoryBytes: 8 * MIB });
    agent.use('default/db/main', { cores: 0.25, memoryBytes: 256 * MIB });
    // A pod of another node: this one may not speak for it.
    agent.use('default/elsewhere/main', { cores: 4, memoryBytes: MIB });
  });
  after(async () => {
    agent.close();
    await fixture.close();
  });

  const milli = (cpu: string) => Math.round(quantityValue(cpu) * 1_000);

  test('pods and nodes, as lists, one by one, selected', async () => {
    const { json } = await fixture.call('GET', `${METRICS}/pods`);
    assert.deepEqual([json.kind, json.apiVersion], ['PodMetricsList', 'metrics.k8s.io/v1beta1']);
    assert.deepEqual(
      json.items.map(({ metadata }) => metadata.name),
      ['db', 'web'],
    );
    const web = json.items[1] as unknown as Metrics;
    assert.match(web.window, /^1(\.\d+)?s$/);
    assert.deepEqual(
      web.containers.map(({ name, usage }) => [name, milli(usage.cpu), usage.memory]),
      [
        ['main', 500, '64Mi'],
        ['side', 100, '8Mi'],
      ],
    );
    const selected = await fixture.call('GET', `${METRICS}/namespaces/default/pods?labelSelector=app%3Ddb`);
    assert.deepEqual(
      selected.json.items.map(({ metadata }) => [metadata.name, metadata.labels]),
      [['db', { app: 'db' }]],
    );
    const nodes = await fixture.call('GET', `${METRICS}/nodes?labelSelector=pool`);
    assert.deepEqual(
      nodes.json.items.map(({ metadata }) => metadata.name),
      ['n1'],
      'a node that does not answer is left out',
    );
    assert.equal((await fixture.call('GET', `${METRICS}/namespaces/default/pods/web`)).json.kind, 'PodMetrics');
    assert.equal(agent.asked(), 2, 'they share a reading');
    assert.deepEqual(warnings, ['the usage of node silent is not known'], 'a node that is lost is not asked');
  });

  test('what is not there, and what cannot be done', async () => {
    const answer = async (method: string, path: string) => {
      const { status, json } = await fixture.call(method, METRICS + path);
      return [status, json.message];
    };
    assert.deepEqual(await answer('GET', '/nodes/silent'), [404, 'nodemetrics.metrics.k8s.io "silent" not found']);
    assert.deepEqual(await answer('GET', '/namespaces/default/pods/none'), [
      404,
      'podmetrics.metrics.k8s.io "default/none" not found',
    ]);
    assert.equal((await answer('GET', '/pods?watch=1'))[0], 405);
    assert.equal((await answer('DELETE', '/nodes/n1'))[0], 405);
    assert.equal((await answer('GET', '/nodes/n1/status'))[0], 404);
  });

  test('discovery and OpenAPI know them', async () => {
    const { json } = await fixture.call('GET', METRICS);
    assert.deepEqual(
      (json['resources'] as { name: string; kind: string; verbs: string[] }[]).map(({ name, kind, verbs }) => [
        name,
        kind,
        verbs,
      ]),
      [
        ['nodes', 'NodeMetrics', ['get', 'list']],
        ['pods', 'PodMetrics', ['get', 'list']],
      ],
    );
    const openApi = await fixture.call('GET', '/openapi/v3/apis/metrics.k8s.io/v1beta1');
    assert.match(openApi.text, /io\.k8s\.metrics\.pkg\.apis\.metrics\.v1beta1\.PodMetrics/);
  });

  test('who may view may read them', async () => {
    const viewer = await fixture.issue('viewer');
    const list = () => fixture.call('GET', `${METRICS}/namespaces/default/pods`, { as: viewer });
    assert.equal((await list()).status, 403);
    const role = await fixture.call(
      'GET',
      '/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregated-metrics-reader',
    );
    assert.deepEqual(
      Object.keys(role.json.metadata.labels ?? {})
        .filter((label) => label.includes('aggregate-to-'))
        .sort(),
      [
        'rbac.authorization.k8s.io/aggregate-to-admin',
        'rbac.authorization.k8s.io/aggregate-to-edit',
        'rbac.authorization.k8s.io/aggregate-to-view',
      ],
    );
    await fixture.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      body: {
        metadata: { name: 'viewers' },
        roleRef: {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'ClusterRole',
          name: 'system:aggregated-metrics-reader',
        },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'viewer' }],
      },
    });
    assert.equal((await list()).status, 200);
  });

  test('kubectl top and get', { skip: kubectlMissing }, async () => {
    const rows = async (...args: string[]) => {
      const { code, out, err } = await fixture.kubectl(args);
      assert.equal(code, 0, err);
      return out
        .trim()
        .split('\n')
        .map((line) => line.trim().split(/ +/));
    };
    const near = (text: string | undefined, milliCores: number) =>
      assert.ok(Math.abs(Number.parseInt(text ?? '', 10) - milliCores) <= 1, `${text}, expected ${milliCores}m`);
    const byMemory = await rows('top', 'pods', '-A', '--sort-by=memory', '--no-headers');
    assert.deepEqual(
      byMemory.map(([namespace, name, , memory]) => [namespace, name, memory]),
      [
        ['default', 'db', '256Mi'],
        ['default', 'web', '72Mi'],
      ],
    );
    near(byMemory[1]?.[2], 600);
    const containers = await rows('top', 'pod', '-l', 'app=web', '--containers', '--no-headers');
    assert.deepEqual(containers.map(([pod, name, , memory]) => [pod, name, memory]).sort(), [
      ['web', 'main', '64Mi'],
      ['web', 'side', '8Mi'],
    ]);
    const [n1, ...others] = await rows('top', 'nodes', '--no-headers', '--sort-by=cpu');
    near(n1?.[1], 4850);
    assert.deepEqual([n1?.[0], n1?.[3], n1?.[4]], ['n1', '329Mi', '32%']);
    const unknown = ['<unknown>', '<unknown>', '<unknown>', '<unknown>'];
    assert.deepEqual(others.sort(), [
      ['lost', ...unknown],
      ['silent', ...unknown],
    ]);
    const [head, row] = await rows('get', 'nodes.metrics.k8s.io');
    assert.deepEqual(head, ['NAME', 'CPU', 'MEMORY', 'WINDOW']);
    assert.deepEqual([row?.[0], row?.[2]], ['n1', '329Mi']);
    assert.match((await rows('get', 'pods'))[0]?.join(' ') ?? '', /^NAME READY STATUS/);
  });
});
