/** The metrics room: what comes in by the bus and by the router, and what is read of it. The bus and the cluster are stood in for: their own tests drive real ones. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { Bus, NodeSample } from '../bus/bus.ts';
import type { Informers } from '../resources/informers.ts';
import { annotations, labels } from '../resources/types.ts';
import type { AccessRecord, RouterStatus } from '../router/model.ts';
import { routeMatcher } from '../router/route-match.ts';
import { openMetrics } from './open.ts';
import { prometheus } from './prometheus.ts';

/** People name their apps as they like. */
const NAME = 'shop "one"\\\n{x="y"}';

function podOf(name: string, index: string, generation = '1'): Pod {
  return {
    metadata: {
      name,
      namespace: 'default-dev',
      uid: `uid-${name}`,
      labels: {
        [labels.app]: 'app-1',
        [labels.process]: 'p-1',
        [labels.processType]: 'web',
        [labels.generation]: generation,
      },
      annotations: { [annotations.instanceIndex]: index, [annotations.logRate]: '1024' },
    },
    spec: { containers: [{ name: 'app' }] },
    status: {
      conditions: [{ type: 'Ready', status: 'True' }],
      containerStatuses: [
        {
          name: 'app',
          restartCount: 2,
          ready: true,
          image: '',
          imageID: '',
          state: { running: { startedAt: '1970-01-01T00:00:10Z' } },
        },
      ],
    },
  };
}

function informersOf(pods: Pod[]): Informers {
  const objects: Record<string, { metadata: { name: string; namespace?: string }; spec: unknown }[]> = {
    apps: [
      {
        metadata: { name: 'app-1', namespace: 'default-dev', labels: { [labels.space]: 'space-1' } } as {
          name: string;
        },
        spec: { displayName: NAME, state: 'STARTED' },
      },
    ],
    spaces: [{ metadata: { name: 'space-1' }, spec: { displayName: 'dev', organization: 'org-1' } }],
    organizations: [{ metadata: { name: 'org-1' }, spec: { displayName: 'default' } }],
    processes: [{ metadata: { name: 'p-1' }, spec: { app: 'app-1', type: 'web', instances: 3 } }],
    pods: pods as never,
  };
  const of = ({ resource }: { resource: string }) => ({
    list: () => objects[resource] ?? [],
    get: (name: string, namespace?: string) =>
      (objects[resource] ?? []).find(
        ({ metadata }) => metadata.name === name && (namespace === undefined || metadata.namespace === namespace),
      ),
    byIndex: (_: string, key: string) => (objects[resource] ?? []).filter(({ metadata }) => metadata.name === key),
  });
  return { of, taskPods: { get: () => undefined } } as unknown as Informers;
}

class Bed {
  now = 1_000_000;
  readonly published: string[] = [];
  connected = true;
  #tell: (message: unknown) => void = () => undefined;
  #access: (record: AccessRecord) => void = () => undefined;

  readonly bus: Bus = {
    publish: (subject) => {
      this.published.push(subject);
      return this.connected;
    },
    subscribe: (_, listener) => {
      this.#tell = listener;
      return () => undefined;
    },
    onConnected: (listener) => {
      listener();
      return () => undefined;
    },
    connected: true,
    close: async () => undefined,
  };

  open(pods = [podOf('shop-a', '0'), podOf('shop-b', '1')]) {
    const status: RouterStatus = {
      proxyPid: 7,
      routes: 3,
      backends: 2,
      backendPool: 512,
      endpoints: 2,
      reloads: 1,
      lostAccessRecords: 4,
    };
    const match = routeMatcher({
      routes: [
        { host: 'shop.test', path: '/', backend: 'b', id: '1' },
        { host: 'shop.test', path: '/api', backend: 'b', id: '2' },
        { host: '*.test', path: '/', backend: 'b', id: '3' },
      ],
    });
    return openMetrics({
      informers: informersOf(pods),
      bus: this.bus,
      router: {
        onAccess: (listener) => {
          this.#access = listener;
          return () => undefined;
        },
        status: () => status,
      },
      applicationOf: ({ backend }) => (backend === 'b' ? 'app-1' : undefined),
      routeOf: ({ host, path }) => match(host, path),
      now: () => this.now,
    });
  }

  tell(sample: unknown): void {
    this.#tell(sample);
  }

  request(more: Partial<AccessRecord>): void {
    this.#access({
      at: this.now,
      backend: 'b',
      endpoint: 'shop-a',
      requestId: 'r',
      clientIp: '10.0.0.1',
      client: '10.0.0.1:99',
      address: '10.1.0.2:8080',
      instance: 0,
      forwardedFor: '',
      method: 'GET',
      host: 'shop.test',
      path: '/',
      protocol: 'HTTP/1.1',
      status: 200,
      bytesIn: 100,
      bytesOut: 1000,
      total: 20,
      queued: 0,
      response: 20,
      userAgent: '',
      referer: '',
      termination: '--',
      gap: 0,
      ...more,
    });
  }
}

function nodeSample(at: number, bytes: number): NodeSample {
  const sample = {
    namespace: 'default-dev',
    container: 'app',
    cpu: 0.25,
    cpuSeconds: 12.5,
    memoryBytes: 50_000_000,
    memoryLimitBytes: 128 * 1024 * 1024,
    diskBytes: 4096,
    diskLimitBytes: 1 << 30,
    log: { bytes, lines: 10, droppedLines: 3 },
  };
  return {
    node: 'one',
    at,
    containers: [
      { ...sample, pod: 'shop-a' },
      { ...sample, pod: 'of another' },
      { ...sample, pod: 'shop-b', container: 'sidecar' },
    ],
    agent: { cpuSeconds: 1, residentBytes: 100_000_000, startedAt: 500_000 },
  };
}

test('metrics: what an instance uses, with the rate of its log, until it is old', () => {
  const bed = new Bed();
  const metrics = bed.open();
  assert.deepEqual(bed.published, ['wake.metrics'], 'who begins asks at once');
  bed.tell(nodeSample(bed.now, 1000));
  bed.tell(nodeSample(bed.now + 10_000, 6000));
  assert.deepEqual(metrics.useOf('default-dev', 'shop-a'), {
    at: 1_010_000,
    cpu: 0.25,
    memoryBytes: 50_000_000,
    diskBytes: 4096,
    logRate: 500,
  });
  assert.equal(metrics.useOf('default-dev', 'shop-b'), undefined, "a sidecar's use is not the instance's");
  assert.equal(metrics.useOf('default-dev', 'of another'), undefined);
  bed.now += 60_000;
  assert.equal(metrics.useOf('default-dev', 'shop-a'), undefined);
  for (const nonsense of [
    null,
    1,
    'x',
    {},
    { node: 1 },
    { node: 'x', at: 1, containers: [null] },
    { node: 'x', at: 1, containers: [{ pod: 1 }] },
  ]) {
    bed.tell(nonsense);
  }
});

test('metrics: a refresh waits for every node that was there, and no longer than it is told to', async () => {
  const bed = new Bed();
  const metrics = bed.open();
  bed.tell(nodeSample(bed.now - 5000, 0));
  bed.tell({ ...nodeSample(bed.now - 5000, 0), node: 'two', containers: [] });
  bed.tell({ ...nodeSample(bed.now - 500_000, 0), node: 'long gone', containers: [] });
  let done = false;
  const refreshed = metrics.refresh(600_000).then(() => {
    done = true;
  });
  bed.tell(nodeSample(bed.now + 1, 0));
  await new Promise(setImmediate);
  assert.equal(done, false);
  bed.tell({ ...nodeSample(bed.now + 1, 0), node: 'two', containers: [] });
  await refreshed;
  await metrics.refresh(1);
  bed.connected = false;
  bed.now += 10_000;
  await metrics.refresh(600_000);
});

test('metrics: envelopes of gauges and requests', () => {
  const bed = new Bed();
  const metrics = bed.open();
  bed.tell(nodeSample(bed.now, 0));
  bed.request({ status: 404, path: '/api/x?y', total: 250 });
  bed.request({ backend: 'of nobody' });
  const [gauge, timer, ...more] = metrics.envelopes('app-1');
  assert.deepEqual(more, []);
  assert.deepEqual(metrics.sources(), ['app-1']);
  assert.equal(gauge?.instanceId, '0');
  assert.ok(gauge.message.type === 'GAUGE');
  const values = Object.fromEntries(Object.entries(gauge.message.metrics).map(([name, { value }]) => [name, value]));
  assert.deepEqual(values, {
    cpu: 25,
    memory: 50_000_000,
    memory_quota: 134_217_728,
    disk: 4096,
    disk_quota: 1_073_741_824,
    log_rate: 0,
    log_rate_limit: 1024,
    absolute_usage: 12_500_000_000,
    container_age: 990_000_000_000,
  });
  assert.deepEqual(
    [gauge.tags['app_name'], gauge.tags['space_name'], gauge.tags['organization_name'], gauge.tags['process_type']],
    [NAME, 'dev', 'default', 'web'],
  );
  assert.deepEqual(timer?.message, {
    type: 'TIMER',
    name: 'http',
    start: '0000001000000000000',
    stop: '0000001000250000000',
  });
  assert.deepEqual([timer?.tags['status_code'], timer?.tags['uri']], ['404', 'http://shop.test/api/x?y']);
  for (let index = 0; index < 5000; index++) bed.request({});
  assert.equal(metrics.envelopes('app-1').filter(({ message }) => message.type === 'TIMER').length, 1000);
  assert.equal(metrics.envelopes('app-1').filter(({ message }) => message.type === 'GAUGE').length, 1);
  metrics.forget('app-1');
  assert.deepEqual(metrics.envelopes('app-1'), []);
});

test("metrics: Prometheus' own tool finds nothing to say about the page, whatever people name their apps", () => {
  const bed = new Bed();
  const metrics = bed.open();
  bed.tell(nodeSample(bed.now, 2048));
  for (const total of [0, 4, 20, 400, 60_000]) bed.request({ total });
  bed.request({ path: '/api/x', status: 503, endpoint: '', instance: undefined });
  bed.request({ host: 'Other.test:8080', status: 101, total: 1_000_000 });
  const page = prometheus.write(metrics.families());
  execFileSync('promtool', ['check', 'metrics'], { input: page, stdio: ['pipe', 'pipe', 'pipe'] });
  const of = `organization="default",space="dev",app="shop \\"one\\"\\\\\\n{x=\\"y\\"}",app_id="app-1"`;
  const shown = (name: string, more: string): string | undefined =>
    page
      .split('\n')
      .find((line) => line.startsWith(`${name}{${of}${more}} `))
      ?.split(' ')
      .at(-1);
  assert.equal(shown('sampan_app_requests_total', ',status_class="2xx"'), '5');
  assert.equal(shown('sampan_app_requests_total', ',status_class="5xx"'), '1');
  assert.equal(shown('sampan_app_sent_bytes_total', ''), '7000');
  const route = ',host="shop.test",path="/"';
  const duration = 'sampan_route_request_duration_seconds';
  assert.equal(shown('sampan_route_requests_total', `${route},status_class="2xx"`), '5');
  const buckets = ['0.001', '0.005', '0.025', '0.5', '30', '+Inf'].map((le) =>
    shown(`${duration}_bucket`, `${route},le="${le}"`),
  );
  assert.deepEqual(buckets, ['1', '2', '3', '4', '4', '5']);
  assert.equal(shown(`${duration}_sum`, route), '60.424');
  assert.equal(shown(`${duration}_count`, route), '5');
  assert.equal(shown(`${duration}_count`, ',host="shop.test",path="/api"'), '1');
  assert.equal(shown(`${duration}_count`, ',host="*.test",path="/"'), '0', 'an upgraded connection has no duration');
  const instance = ',process_type="web",instance="0"';
  assert.equal(shown('sampan_app_instance_memory_bytes', instance), '50000000');
  assert.equal(shown('sampan_app_instance_cpu_seconds_total', instance), '12.5');
  assert.equal(shown('sampan_app_instance_restarts_total', instance), '2');
  assert.equal(shown('sampan_app_instance_log_bytes_total', instance), '2048');
  assert.equal(shown('sampan_app_instance_log_lines_dropped_total', instance), '3');
  assert.equal(shown('sampan_app_instances_desired', ',process_type="web"'), '3');
  assert.equal(shown('sampan_app_instances_running', ',process_type="web"'), '2');
  assert.match(page, /\nsampan_router_access_records_lost_total 4\n/);
  assert.match(page, /\nsampan_role_resident_memory_bytes\{role="agent",node="one"\} 100000000\n/);
  assert.match(page, /\nsampan_apps\{state="started"\} 1\n/);
});

test('metrics: of two generations of an instance the newer one is shown', () => {
  const bed = new Bed();
  const metrics = bed.open([podOf('shop-a', '0', '2'), podOf('shop-b', '0', '1')]);
  const page = prometheus.write(metrics.families());
  assert.equal(page.split('\n').filter((line) => line.startsWith('sampan_app_instance_restarts_total{')).length, 1);
  execFileSync('promtool', ['check', 'metrics'], { input: page, stdio: ['pipe', 'pipe', 'pipe'] });
});
