import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { issueCertificate } from '#lib/certificates.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

interface Review {
  kind: string;
  request: Record<string, unknown> & {
    uid: string;
    name: string;
    operation: string;
    subResource?: string;
    dryRun: boolean;
    object: { metadata: { annotations?: Record<string, string> } } | null;
    oldObject: object | null;
    userInfo: { username: string; groups: string[] };
  };
}

const MAPS = '/api/v1/namespaces/default/configmaps';
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1';

describe('API server: admission webhooks, over HTTPS', () => {
  let fixture: ApiFixture;
  let server: Server;
  let caBundle = '';
  let address = '';
  const seen: Review['request'][] = [];
  /** By path: what the webhook answers. */
  const answers = new Map<string, (request: Review['request']) => object | 'nothing' | 'error'>();

  before(async () => {
    fixture = await apiFixture();
    caBundle = Buffer.from(fixture.authority.certificate).toString('base64');
    const pair = await issueCertificate(fixture.authority, {
      commonName: 'hook',
      dnsNames: ['hook.default.svc'],
      ips: ['127.0.0.1'],
      usages: ['server'],
      days: 1,
    });
    server = createServer({ cert: pair.certificate, key: pair.key }, (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const review = JSON.parse(Buffer.concat(chunks).toString()) as Review;
        seen.push(review.request);
        const answer = answers.get(request.url?.split('?')[0] ?? '')?.(review.request) ?? { allowed: true };
        if (answer === 'nothing') return;
        if (answer === 'error') {
          response.writeHead(500);
          response.end('broken');
          return;
        }
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ ...review, response: { uid: review.request.uid, ...(answer as object) } }));
      });
    });
    server.listen(0, '0.0.0.0');
    await once(server, 'listening');
    address = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await fixture.close();
  });

  const rule = { apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['*'] };
  const hook = (path: string, further: object = {}) => ({
    name: `${path}.hooks.example.com`,
    clientConfig: { url: `${address}/${path}`, caBundle },
    rules: [rule],
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
    ...further,
  });
  /** Configured while the work runs. */
  const configured = async (kind: 'Mutating' | 'Validating', webhooks: object[], work: () => Promise<void>) => {
    const path = `${CONFIGURATIONS}/${kind.toLowerCase()}webhookconfigurations`;
    const made = await fixture.call('POST', path, { body: { metadata: { name: 'test' }, webhooks } });
    assert.equal(made.status, 201, made.text);
    seen.length = 0;
    try {
      await work();
    } finally {
      assert.equal((await fixture.call('DELETE', `${path}/test`)).status, 200);
      answers.clear();
    }
  };
  const create = (name: string, further: object = {}, query = '') =>
    fixture.call('POST', `${MAPS}${query}`, { body: { metadata: { name }, data: { key: 'value' }, ...further } });
  const patchOf = (...operations: object[]) => ({
    allowed: true,
    patchType: 'JSONPatch',
    patch: Buffer.from(JSON.stringify(operations)).toString('base64'),
  });

  test('a webhook judges: what it is told, refusals, warnings', async () => {
    answers.set('/judge', ({ operation, name }) => ({
      allowed: name !== 'bad' && operation !== 'DELETE',
      warnings: ['mind the gap'],
      status: { message: `no ${name}`, code: 403, reason: 'Forbidden' },
    }));
    await configured('Validating', [hook('judge')], async () => {
      const good = await create('good');
      assert.equal(good.status, 201, good.text);
      assert.match(String(good.headers['warning']), /mind the gap/);
      const bad = await create('bad', {}, '?dryRun=All');
      assert.deepEqual(
        [bad.status, bad.json.reason, bad.json.message],
        [403, 'Forbidden', 'admission webhook "judge.hooks.example.com" denied the request: no bad'],
      );
      assert.deepEqual(
        seen.map(({ operation, name, dryRun }) => [operation, name, dryRun]),
        [
          ['CREATE', 'good', false],
          ['CREATE', 'bad', true],
        ],
      );
      assert.equal(seen[0]?.userInfo.username, 'admin');
      assert.deepEqual(seen[0]?.['resource'], { group: '', version: 'v1', resource: 'configmaps' });
      const kept = await fixture.call('DELETE', `${MAPS}/good`);
      assert.equal(kept.json.message, 'admission webhook "judge.hooks.example.com" denied the request: no good');
      assert.deepEqual([seen.at(-1)?.object, typeof seen.at(-1)?.oldObject], [null, 'object']);
    });
    const metrics = await fixture.call('GET', '/metrics');
    assert.match(
      metrics.text,
      /apiserver_admission_webhook_rejection_count\{name="judge.hooks.example.com",type="validating",operation="CREATE",error_type="no_error"\} 1/,
    );
    assert.equal((await fixture.call('DELETE', `${MAPS}/good`)).status, 200);
  });

  test('connections are judged too, before anything is looked up', async () => {
    const pods = { apiGroups: [''], apiVersions: ['v1'], operations: ['CONNECT'] };
    const rules = [{ ...pods, resources: ['pods/*', 'nodes/proxy', 'services/proxy'] }];
    const upgrade = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    };
    const pod = '/api/v1/namespaces/default/pods/secret';
    const cases: [string, Record<string, string>, string, object][] = [
      [
        `${pod}/exec?command=ls&command=-l&stdout=true&tty=0&container=main`,
        upgrade,
        'PodExecOptions',
        { stdout: true, container: 'main', command: ['ls', '-l'] },
      ],
      [`${pod}/attach?stdin=1`, upgrade, 'PodAttachOptions', { stdin: true }],
      [`${pod}/portforward?ports=80,81`, upgrade, 'PodPortForwardOptions', { ports: [80, 81] }],
      [`${pod}/proxy/a/b?c=d`, upgrade, 'PodProxyOptions', { path: 'a/b' }],
      [`${pod}/proxy/a`, {}, 'PodProxyOptions', { path: 'a' }],
      ['/api/v1/namespaces/default/services/secret/proxy/', {}, 'ServiceProxyOptions', {}],
      ['/api/v1/nodes/secret/proxy/stats/summary', {}, 'NodeProxyOptions', { path: 'stats/summary' }],
    ];
    for (const kind of ['Validating', 'Mutating'] as const)
      await configured(kind, [hook('judge', { rules })], async () => {
        answers.set('/judge', () => ({ allowed: false, status: { message: 'not there' } }));
        for (const [path, headers, options, object] of cases) {
          const refused = await fixture.call('GET', path, { headers });
          assert.equal(
            refused.json.message,
            'admission webhook "judge.hooks.example.com" denied the request: not there',
            path,
          );
          const told = seen.at(-1);
          assert.deepEqual(told?.object, { apiVersion: 'v1', kind: options, ...object });
          assert.deepEqual(told?.['kind'], { group: '', version: 'v1', kind: options });
          assert.deepEqual([told?.operation, told?.name, told?.['options']], ['CONNECT', 'secret', null]);
        }
      });
  });

  test('webhooks change objects one after the other, and once more where they ask for it', async () => {
    const count: string[] = [];
    answers.set('/first', ({ object }) => {
      count.push('first');
      const annotations = { ...object?.metadata.annotations, first: String(count.length) };
      return patchOf({ op: 'add', path: '/metadata/annotations', value: annotations });
    });
    answers.set('/second', () => {
      count.push('second');
      return patchOf({ op: 'add', path: '/data/second', value: 'yes' }, { op: 'add', path: '/nonsense', value: 1 });
    });
    const webhooks = [hook('first', { reinvocationPolicy: 'IfNeeded' }), hook('second')];
    await configured('Mutating', webhooks, async () => {
      const { json } = await create('changed');
      assert.deepEqual(count, ['first', 'second', 'first']);
      assert.deepEqual(json.metadata.annotations, { first: '3' });
      assert.deepEqual(json['data'], { key: 'value', second: 'yes' });
      assert.equal(json['nonsense'], undefined);
    });
    answers.set('/wrong', () => patchOf({ op: 'remove', path: '/data/absent' }));
    await configured('Mutating', [hook('wrong')], async () => {
      assert.match((await create('wrong')).json.message, /"wrong.hooks.example.com": its patch does not apply/);
    });
  });

  test('what a subresource is sent: told as what it is, and changed', async () => {
    const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'a', image: 'b' }] } };
    const deployments = '/apis/apps/v1/namespaces/default/deployments';
    const spec = { replicas: 0, selector: { matchLabels: { a: 'b' } }, template };
    await fixture.call('POST', deployments, { body: { metadata: { name: 'scaled' }, spec } });
    const rules = [{ ...rule, apiGroups: ['*'], resources: ['*/scale', 'deployments'], operations: ['UPDATE'] }];
    answers.set('/scales', () => patchOf({ op: 'replace', path: '/spec/replicas', value: 2 }));
    await configured('Mutating', [hook('scales', { rules })], async () => {
      const { status, text, json } = await fixture.call('PUT', `${deployments}/scaled/scale`, {
        body: { metadata: { name: 'scaled' }, spec: { replicas: 9 } },
      });
      assert.equal(status, 200, text);
      assert.deepEqual(json['spec'], { replicas: 2 });
      assert.equal(seen.length, 1, 'not asked about the Deployment too');
      const told: Partial<Review['request']> = seen[0] ?? {};
      const { subResource, operation, object, oldObject } = told;
      assert.deepEqual(
        [told['kind'], told['resource'], subResource, operation, told['options']],
        [
          { group: 'autoscaling', version: 'v1', kind: 'Scale' },
          { group: 'apps', version: 'v1', resource: 'deployments' },
          'scale',
          'UPDATE',
          { kind: 'UpdateOptions', apiVersion: 'meta.k8s.io/v1' },
        ],
      );
      const replicas = [object, oldObject].map(
        (one) => (one as { spec?: { replicas: number } } | null)?.spec?.replicas,
      );
      assert.deepEqual(replicas, [9, 0]);
    });
    answers.set('/broken', () => patchOf({ op: 'replace', path: '/spec/replicas', value: 'many' }));
    await configured('Mutating', [hook('broken', { rules })], async () => {
      const wrong = await fixture.call('PUT', `${deployments}/scaled/scale`, { body: { spec: { replicas: 1 } } });
      assert.equal(wrong.status, 500);
      assert.match(wrong.json.message, /spec.replicas: expected an integer/);
    });
  });

  test('whom it is asked about: rules, selectors, conditions, subresources', async () => {
    const webhooks = [
      hook('labels', { objectSelector: { matchLabels: { watched: 'yes' } } }),
      hook('namespaces', { namespaceSelector: { matchLabels: { none: 'such' } } }),
      hook('conditions', {
        matchConditions: [
          { name: 'named', expression: 'object.metadata.name.startsWith("c") && request.userInfo.username == "admin"' },
        ],
      }),
      hook('parts', { rules: [{ ...rule, apiGroups: ['*'], apiVersions: ['*'], resources: ['deployments/status'] }] }),
      hook('cluster', { rules: [{ ...rule, resources: ['*'], scope: 'Cluster' }] }),
    ];
    const asked: string[] = [];
    for (const path of ['labels', 'namespaces', 'conditions', 'parts', 'cluster'])
      answers.set(`/${path}`, ({ name, subResource }) => {
        asked.push([path, name, subResource].filter(Boolean).join(' '));
        return { allowed: true };
      });
    await configured('Validating', webhooks, async () => {
      await create('one', { metadata: { name: 'one', labels: { watched: 'yes' } } });
      await create('c-two');
      const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'a', image: 'b' }] } };
      const deployments = '/apis/apps/v1/namespaces/default/deployments';
      const spec = { replicas: 0, selector: { matchLabels: { a: 'b' } }, template };
      const made = await fixture.call('POST', deployments, { body: { metadata: { name: 'd' }, spec } });
      const status = await fixture.call('PUT', `${deployments}/d/status`, {
        body: { ...made.json, status: { replicas: 1 } },
      });
      assert.equal(status.status, 200, status.text);
      await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'fresh' } } });
      assert.deepEqual(asked, ['labels one', 'conditions c-two', 'parts d status', 'cluster fresh']);
    });
  });

  test('one that cannot be asked: refused, or let pass, by its policy; never for the configurations', async () => {
    answers.set('/broken', () => 'error');
    const everything = [{ ...rule, apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'] }];
    await configured('Validating', [hook('broken', { rules: everything })], async () => {
      const { status, json } = await create('x');
      assert.equal(status, 500);
      assert.match(
        json.message,
        /^Internal error occurred: failed calling webhook "broken.hooks.example.com": an error on the server/,
      );
    });
    answers.set('/silent', () => 'nothing');
    await configured('Validating', [hook('silent', { timeoutSeconds: 1 })], async () => {
      assert.match((await create('x')).json.message, /context deadline exceeded/);
    });
    answers.set('/broken', () => 'error');
    await configured('Validating', [hook('broken', { failurePolicy: 'Ignore' })], async () => {
      assert.equal((await create('x')).status, 201);
    });
    const service = { namespace: 'default', name: 'absent', path: '/x' };
    await configured('Validating', [hook('service', { clientConfig: { service, caBundle } })], async () => {
      assert.match((await create('y')).json.message, /failed calling webhook .* services "absent" not found/);
    });
  });

  test('a Service of the cluster, by its endpoints and under its name', async () => {
    const port = (server.address() as AddressInfo).port;
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((one) => one?.family === 'IPv4' && !one.internal)?.address;
    assert.ok(outside, 'the machine has an address besides the loopback');
    await fixture.call('POST', '/api/v1/namespaces/default/services', {
      body: { metadata: { name: 'hook' }, spec: { ports: [{ port: 443 }] } },
    });
    await fixture.call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
      body: {
        metadata: { name: 'hook-1', labels: { 'kubernetes.io/service-name': 'hook' } },
        addressType: 'IPv4',
        endpoints: [{ addresses: [outside], conditions: { ready: true } }],
        ports: [{ name: '', port }],
      },
    });
    const service = { namespace: 'default', name: 'hook', path: '/through' };
    await configured(
      'Validating',
      [hook('through', { clientConfig: { service, caBundle }, timeoutSeconds: 1 })],
      async () => {
        const made = await create('z');
        assert.equal(made.status, 201, made.text);
        assert.equal(seen[0]?.name, 'z');
      },
    );
  });

  test('what is no configuration is refused', async () => {
    const wrong = {
      name: 'short',
      clientConfig: { url: 'http://a' },
      sideEffects: 'Some',
      admissionReviewVersions: ['v2'],
      timeoutSeconds: 31,
      matchConditions: [{ name: 'x', expression: '1' }],
    };
    const { json } = await fixture.call('POST', `${CONFIGURATIONS}/validatingwebhookconfigurations`, {
      body: { metadata: { name: 'wrong' }, webhooks: [wrong] },
    });
    const { causes } = json['details'] as { causes: { field: string }[] };
    assert.deepEqual(
      causes.map(({ field }) => field.replace('webhooks[0].', '')),
      [
        'sideEffects',
        'name',
        'admissionReviewVersions',
        'timeoutSeconds',
        'clientConfig.url',
        'matchConditions[0].expression',
      ],
    );
  });
});
