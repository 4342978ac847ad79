/** Admission, as stock kubectl and many requests at once see it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createClient } from '#cluster/client/create.ts';
import { createResourceQuotaController } from '#cluster/controllers/resource-quota.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

const MERGE = { 'content-type': 'application/merge-patch+json' };

describe('API server: admission', () => {
  let fixture: ApiFixture;
  const stop = new AbortController();
  let controllers: Awaited<ReturnType<typeof startControllers>>;
  before(async () => {
    fixture = await apiFixture({
      podSecurity: { exemptions: { usernames: ['trusted'], namespaces: ['exempt'] } },
      taintNewNodes: true,
    });
    const client = createClient(fixture.api.transport({ name: 'controllers', groups: ['system:masters'] }));
    const log = () => undefined;
    controllers = await startControllers([createResourceQuotaController()], {
      client,
      log,
      signal: stop.signal,
      now: Date.now,
    });
  });
  after(async () => {
    stop.abort();
    await controllers.close();
    await fixture.close();
  });

  const kubectl = async (...args: string[]) => {
    const { code, out, err } = await fixture.kubectl(args);
    assert.equal(code, 0, err);
    return { out, err };
  };
  const namespace = async (name: string) => {
    await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
    return `/api/v1/namespaces/${name}`;
  };
  const pod = (name: string, resources?: object, more: object = {}) => ({
    metadata: { name },
    spec: { containers: [{ name: 'c', image: 'i', ...(resources === undefined ? {} : { resources }) }], ...more },
  });
  const untilUsed = async (path: string, name: string, used: Record<string, string>) => {
    const events = await fixture.watch(`${path}/resourcequotas?watch=1&fieldSelector=metadata.name%3D${name}`);
    for await (const { object } of events) {
      const now = (object['status'] as { used?: Record<string, string> } | undefined)?.used ?? {};
      if (Object.entries(used).every(([key, value]) => now[key] === value)) return;
    }
    assert.fail('the watch ended');
  };

  describe('ResourceQuota', () => {
    test('kubectl create quota: counted, refused in upstream words, shown, freed', async () => {
      const path = await namespace('q1');
      await kubectl('create', 'quota', 'q', '--hard=pods=2,configmaps=1,count/deployments.apps=0', '-n', 'q1');
      for (const name of ['a', 'b'])
        assert.equal((await fixture.call('POST', `${path}/pods`, { body: pod(name) })).status, 201);
      const third = await fixture.call('POST', `${path}/pods`, { body: pod('c') });
      assert.equal(third.status, 403);
      assert.equal(
        third.json.message,
        'pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2',
      );
      assert.equal((await fixture.call('POST', `${path}/pods?dryRun=All`, { body: pod('c') })).status, 403);
      const deployment = await fixture.kubectl(['create', 'deployment', 'd', '--image=i', '-n', 'q1']);
      assert.match(
        deployment.err,
        /deployments\.apps "d" is forbidden: exceeded quota: q, requested: count\/deployments\.apps=1, used: count\/deployments\.apps=0, limited: count\/deployments\.apps=0/,
      );
      await untilUsed(path, 'q', { pods: '2', configmaps: '0' });
      assert.match((await kubectl('describe', 'quota', 'q', '-n', 'q1')).out, /^pods +2 +2$/m);
      await fixture.call('DELETE', `${path}/pods/a`);
      assert.equal((await fixture.call('POST', `${path}/pods`, { body: pod('c') })).status, 201);
      await fixture.call('POST', `${path}/configmaps`, { body: { metadata: { name: 'x' } } });
      await untilUsed(path, 'q', { configmaps: '1' });
      // A pod that has ended frees its place.
      await fixture.call('PATCH', `${path}/pods/b/status`, {
        body: { status: { phase: 'Succeeded' } },
        headers: MERGE,
      });
      assert.equal((await fixture.call('POST', `${path}/pods`, { body: pod('d') })).status, 201);
    });

    test('what must be said is demanded, and sums are exact', async () => {
      const path = await namespace('q2');
      await kubectl('create', 'quota', 'q', '--hard=requests.cpu=1,limits.memory=1Gi', '-n', 'q2');
      const silent = await fixture.call('POST', `${path}/pods`, { body: pod('silent') });
      assert.equal(
        silent.json.message,
        'pods "silent" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c',
      );
      const part = { requests: { cpu: '100m' }, limits: { memory: '64Mi' } };
      const made = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          fixture.call('POST', `${path}/pods`, { body: pod(`p${index}`, part) }),
        ),
      );
      assert.deepEqual([...new Set(made.map(({ status }) => status))], [201]);
      const over = await fixture.call('POST', `${path}/pods`, { body: pod('over', part) });
      assert.equal(
        over.json.message,
        'pods "over" is forbidden: exceeded quota: q, requested: requests.cpu=100m, used: requests.cpu=1, limited: requests.cpu=1',
      );
      await untilUsed(path, 'q', { 'requests.cpu': '1', 'limits.memory': '640Mi' });
    });

    test('however many come at once, together they stay within it', async () => {
      const path = await namespace('q3');
      await kubectl('create', 'quota', 'q', '--hard=pods=7', '-n', 'q3');
      const answers = await Promise.all(
        Array.from({ length: 60 }, () =>
          fixture.call('POST', `${path}/pods`, { body: { ...pod(''), metadata: { generateName: 'p-' } } }),
        ),
      );
      assert.equal(answers.filter(({ status }) => status === 201).length, 7);
      assert.equal(answers.filter(({ status }) => status === 403).length, 53);
      assert.equal((await fixture.call('GET', `${path}/pods`)).json.items.length, 7);
    });

    test('scopes choose the pods that count', async () => {
      const path = await namespace('q4');
      await kubectl('create', 'quota', 'best', '--hard=pods=0', '--scopes=BestEffort', '-n', 'q4');
      const best = await fixture.call('POST', `${path}/pods`, { body: pod('best') });
      assert.match(best.json.message, /exceeded quota: best/);
      assert.equal(
        (await fixture.call('POST', `${path}/pods`, { body: pod('burst', { requests: { cpu: '1m' } }) })).status,
        201,
      );
      const high = {
        hard: { pods: '0' },
        scopeSelector: { matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: ['high'] }] },
      };
      await fixture.call('POST', `${path}/resourcequotas`, { body: { metadata: { name: 'high' }, spec: high } });
      await fixture.call('POST', '/apis/scheduling.k8s.io/v1/priorityclasses', {
        body: { metadata: { name: 'high' }, value: 100 },
      });
      const refused = await fixture.call('POST', `${path}/pods`, {
        body: pod('h', { requests: { cpu: '1m' } }, { priorityClassName: 'high' }),
      });
      assert.match(refused.json.message, /exceeded quota: high, requested: pods=1, used: pods=0, limited: pods=0/);
    });
  });

  test('LimitRanger: defaults, and bounds in upstream words', async () => {
    const path = await namespace('limits');
    const limits = [
      {
        type: 'Container',
        default: { cpu: '200m' },
        defaultRequest: { cpu: '100m' },
        min: { cpu: '50m' },
        max: { cpu: '1' },
        maxLimitRequestRatio: { cpu: '4' },
      },
      { type: 'Pod', max: { cpu: '1500m' } },
    ];
    const created = await fixture.call('POST', `${path}/limitranges`, {
      body: { metadata: { name: 'l' }, spec: { limits } },
    });
    assert.equal(created.status, 201, created.json.message);
    const plain = await fixture.call('POST', `${path}/pods`, { body: pod('plain') });
    const [container] = (plain.json['spec'] as { containers: { resources: object }[] }).containers;
    assert.deepEqual(container?.resources, { limits: { cpu: '200m' }, requests: { cpu: '100m' } });
    assert.equal(
      plain.json.metadata.annotations?.['kubernetes.io/limit-ranger'],
      'LimitRanger plugin set: cpu request for container c; cpu limit for container c',
    );
    assert.equal((plain.json['status'] as { qosClass: string }).qosClass, 'Burstable');
    const refused = async (resources: object) =>
      (await fixture.call('POST', `${path}/pods`, { body: pod('x', resources) })).json.message;
    assert.equal(
      await refused({ requests: { cpu: '10m' }, limits: { cpu: '40m' } }),
      'pods "x" is forbidden: minimum cpu usage per Container is 50m, but request is 10m',
    );
    assert.equal(
      await refused({ requests: { cpu: '500m' }, limits: { cpu: '2' } }),
      'pods "x" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum cpu usage per Pod is 1500m, but limit is 2]',
    );
    assert.match(
      await refused({ requests: { cpu: '100m' }, limits: { cpu: '500m' } }),
      /cpu max limit to request ratio per Container is 4, but provided ratio is 5\.000000$/,
    );
    const described = (await kubectl('describe', 'limits', 'l', '-n', 'limits')).out;
    assert.match(described, /^Container +cpu +50m +1 +100m +200m +4$/m);
    const wrong = [{ type: 'Container', min: { cpu: '2' }, max: { cpu: '1' } }];
    assert.equal(
      (
        await fixture.call('POST', `${path}/limitranges`, {
          body: { metadata: { name: 'w' }, spec: { limits: wrong } },
        })
      ).status,
      422,
    );
  });

  test('Priority: classes give numbers, numbers are not given by hand', async () => {
    const path = await namespace('priorities');
    const classes = '/apis/scheduling.k8s.io/v1/priorityclasses';
    await kubectl('create', 'priorityclass', 'low', '--value=-5', '--preemption-policy=Never');
    const specOf = async (more: object) =>
      (
        await fixture.call('POST', `${path}/pods`, {
          body: { ...pod('', undefined, more), metadata: { generateName: 'p' } },
        })
      ).json;
    const low = (await specOf({ priorityClassName: 'low' }))['spec'] as { priority: number; preemptionPolicy: string };
    assert.deepEqual([low.priority, low.preemptionPolicy], [-5, 'Never']);
    const critical = (await specOf({ priorityClassName: 'system-node-critical' }))['spec'] as { priority: number };
    assert.equal(critical.priority, 2_000_001_000);
    assert.match(
      (await specOf({ priorityClassName: 'none' })).message,
      /is forbidden: no PriorityClass with name none was found$/,
    );
    assert.match(
      (await specOf({ priority: 7 })).message,
      /the integer value of priority \(7\) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name$/,
    );
    await kubectl('create', 'priorityclass', 'usual', '--value=10', '--global-default');
    const usual = (await specOf({}))['spec'] as { priority: number; priorityClassName: string };
    assert.deepEqual([usual.priority, usual.priorityClassName], [10, 'usual']);
    const second = await fixture.call('POST', classes, {
      body: { metadata: { name: 'second' }, value: 1, globalDefault: true },
    });
    assert.match(second.json.message, /PriorityClass usual is already marked as default\. Only one default can exist$/);
    assert.equal(
      (await fixture.call('PATCH', `${classes}/usual`, { body: { value: 11 }, headers: MERGE })).status,
      422,
    );
    assert.equal(
      (await fixture.call('POST', classes, { body: { metadata: { name: 'system-x' }, value: 1 } })).status,
      422,
    );
    await fixture.call('DELETE', `${classes}/usual`);
  });

  describe('PodSecurity', () => {
    test('kubectl label ns: pods that are there are named, new ones refused, templates warned of', async () => {
      const path = await namespace('strict');
      for (const name of ['one', 'two']) await fixture.call('POST', `${path}/pods`, { body: pod(name) });
      await fixture.call('POST', `${path}/pods`, { body: pod('net', undefined, { hostNetwork: true }) });
      const labelled = await kubectl('label', 'ns', 'strict', 'pod-security.kubernetes.io/enforce=restricted');
      assert.match(
        labelled.err,
        /^Warning: existing pods in namespace "strict" violate the new PodSecurity enforce level "restricted:latest"$/m,
      );
      assert.match(
        labelled.err,
        /^Warning: one \(and 1 other pod\): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile$/m,
      );
      assert.match(labelled.err, /^Warning: net: host namespaces, allowPrivilegeEscalation/m);
      const refused = await fixture.kubectl(['run', 'three', '--image=i', '-n', 'strict']);
      assert.match(
        refused.err,
        /pods "three" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false \(container "three" must set securityContext\.allowPrivilegeEscalation=false\), unrestricted capabilities \(container "three" must set securityContext\.capabilities\.drop=\["ALL"\]\), runAsNonRoot != true \(pod or container "three" must set securityContext\.runAsNonRoot=true\), seccompProfile \(pod or container "three" must set securityContext\.seccompProfile\.type to "RuntimeDefault" or "Localhost"\)/,
      );
      const deployment = await kubectl('create', 'deployment', 'd', '--image=i', '-n', 'strict');
      assert.match(
        deployment.err,
        /^Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false \(container "i" must set/m,
      );
      assert.equal(
        (
          await fixture.call('PATCH', `${path}/pods/one`, {
            body: { metadata: { labels: { a: 'b' } } },
            headers: MERGE,
          })
        ).status,
        200,
      );
    });

    test('labels that say nothing valid are refused; exemptions hold', async () => {
      const path = await namespace('lax');
      const wrong = await fixture.kubectl(['label', 'ns', 'lax', 'pod-security.kubernetes.io/enforce=strictest']);
      assert.match(
        wrong.err,
        /Namespace "lax" is invalid: metadata\.labels\[pod-security\.kubernetes\.io\/enforce\]: Invalid value: "strictest": must be one of privileged, baseline, restricted/,
      );
      await kubectl('label', 'ns', 'lax', 'pod-security.kubernetes.io/enforce=baseline');
      const host = pod('host', undefined, { hostNetwork: true });
      assert.equal((await fixture.call('POST', `${path}/pods`, { body: host })).status, 403);
      const trusted = await fixture.issue('trusted', ['system:masters']);
      assert.equal((await fixture.call('POST', `${path}/pods`, { body: host, as: trusted })).status, 201);
      const exempt = await namespace('exempt');
      await kubectl('label', 'ns', 'exempt', 'pod-security.kubernetes.io/enforce=restricted');
      assert.equal((await fixture.call('POST', `${exempt}/pods`, { body: host })).status, 201);
    });
  });

  test('NodeRestriction: labels, taints, mirrors', async () => {
    const node = await fixture.issue('system:node:n1', ['system:nodes']);
    const as = (method: string, path: string, body: object) =>
      fixture.call(method, path, { body, as: node, headers: method === 'PATCH' ? MERGE : {} });
    const made = await as('POST', '/api/v1/nodes', {
      metadata: { name: 'n1', labels: { 'kubernetes.io/hostname': 'n1' } },
    });
    assert.deepEqual((made.json['spec'] as { taints: object[] }).taints, [
      { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' },
    ]);
    const labels = { 'node-restriction.kubernetes.io/x': 'y', 'node.kubernetes.io/own': 'z' };
    const labelled = await as('PATCH', '/api/v1/nodes/n1', { metadata: { labels } });
    assert.equal(
      labelled.json.message,
      'nodes "n1" is forbidden: node "n1" is not allowed to modify the following labels: node-restriction.kubernetes.io/x',
    );
    assert.match(
      (await as('PATCH', '/api/v1/nodes/n1', { spec: { taints: [] } })).json.message,
      /node "n1" is not allowed to modify taints$/,
    );
    assert.equal(
      (await as('PATCH', '/api/v1/nodes/n1', { metadata: { labels: { 'node.kubernetes.io/own': 'z', team: 'a' } } }))
        .status,
      200,
    );
    const path = '/api/v1/namespaces/default/pods';
    assert.match(
      (await as('POST', path, pod('x'))).json.message,
      /pod does not have "kubernetes\.io\/config\.mirror" annotation, node "n1" can only create mirror pods/,
    );
    const mirror = (name: string, more: object) => ({
      ...pod(name, undefined, { nodeName: 'n1', ...more }),
      metadata: { name, annotations: { 'kubernetes.io/config.mirror': 'h' } },
    });
    assert.match(
      (await as('POST', path, mirror('m', { nodeName: 'n2' }))).json.message,
      /can only create pods with spec\.nodeName set to itself$/,
    );
    assert.match(
      (await as('POST', path, mirror('m', { volumes: [{ name: 'v', secret: { secretName: 's' } }] }))).json.message,
      /can not create pods that reference secrets$/,
    );
    assert.equal((await as('POST', path, mirror('m', {}))).status, 201);
    const other = await fixture.issue('system:node:n2', ['system:nodes']);
    assert.equal((await fixture.call('POST', `${path}/m/eviction`, { body: {}, as: other })).status, 403);
    assert.equal((await as('POST', `${path}/m/eviction`, { deleteOptions: { gracePeriodSeconds: 0 } })).status, 201);
  });
});
