/** Priority and fairness over HTTPS: a webhook that answers when it is told to holds requests where they are. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type Answer, type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kubectlMissing } from '#testing/kubectl.ts';
import { until } from '#testing/until.ts';
import { issueCertificate, type KeyPair } from '#lib/certificates.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const FLOW = '/apis/flowcontrol.apiserver.k8s.io/v1';
const SECONDS = 60;

let fixture: ApiFixture;
let hook: Server;
let alice: KeyPair;
let bob: KeyPair;
/** Names of the objects that the webhook was asked about, in order. */
const asked: string[] = [];
const held: (() => void)[] = [];
let holding = true;

before(async () => {
  fixture = await apiFixture({ flowControl: { seats: 20, patience: 120_000 } });
  [alice, bob] = await Promise.all([fixture.issue('alice', ['workers']), fixture.issue('bob', ['workers'])]);
  const pair = await issueCertificate(fixture.authority, {
    commonName: 'hook',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  hook = createServer({ cert: pair.certificate, key: pair.key }, (incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const review = JSON.parse(Buffer.concat(chunks).toString()) as { request: { uid: string; name: string } };
      asked.push(review.request.name);
      const answer = (): void => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ ...review, response: { uid: review.request.uid, allowed: true } }));
      };
      if (holding) held.push(answer);
      else answer();
    });
  });
  hook.listen(0, '127.0.0.1');
  await once(hook, 'listening');
  await put('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: 'workers' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'workers' }],
  });
  await put('POST', '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', {
    metadata: { name: 'hold' },
    webhooks: [
      {
        name: 'hold.example.com',
        clientConfig: {
          url: `https://127.0.0.1:${(hook.address() as AddressInfo).port}/`,
          caBundle: Buffer.from(fixture.authority.certificate).toString('base64'),
        },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['CREATE'] }],
        sideEffects: 'None',
        admissionReviewVersions: ['v1'],
        timeoutSeconds: 30,
        failurePolicy: 'Ignore',
      },
    ],
  });
});

after(async () => {
  hook.closeAllConnections();
  hook.close();
  await fixture.close();
});

async function put(method: string, path: string, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  const answer = await fixture.call(method, path, { body, headers });
  assert.ok(answer.status < 300, answer.text);
  return answer;
}

const merge = { 'content-type': 'application/merge-patch+json' };
const create = (name: string, as: KeyPair): Promise<Answer> =>
  fixture.call('POST', MAPS, { body: { metadata: { name } }, as });

const limited = (queuing: object, further: object = {}) => ({
  type: 'Limited',
  limited: {
    nominalConcurrencyShares: 1,
    borrowingLimitPercent: 0,
    lendablePercent: 0,
    limitResponse: { type: 'Queue', queuing },
    ...further,
  },
});

const schemaFor = (level: string, further: object = {}) => ({
  priorityLevelConfiguration: { name: level },
  matchingPrecedence: 600,
  distinguisherMethod: { type: 'ByUser' },
  rules: [
    {
      subjects: [{ kind: 'Group', group: { name: 'workers' } }],
      resourceRules: [{ verbs: ['create'], apiGroups: [''], resources: ['configmaps'], namespaces: ['default'] }],
    },
  ],
  ...further,
});

/** As the metrics say. */
async function gauge(name: string, level: string): Promise<number> {
  const { text } = await fixture.call('GET', '/metrics');
  const found = new RegExp(`^apiserver_flowcontrol_${name}\\{priority_level="${level}"\\} (\\d+)$`, 'm').exec(text);
  return Number(found?.[1] ?? -1);
}

const waiting = (count: number): Promise<void> =>
  until(async () => (await gauge('current_inqueue_requests', 'jail')) === count, SECONDS);

function release(): void {
  holding = false;
  for (const answer of held.splice(0)) answer();
}

describe('flow control', { concurrency: 1 }, () => {
  test('the objects of every cluster are there, kept, and tell of themselves', { skip: kubectlMissing }, async () => {
    const shown = await fixture.kubectl(['get', 'flowschemas']);
    assert.match(shown.out, /exempt +exempt +1 +<none> +\S+ +False/, shown.err);
    assert.match(shown.out, /service-accounts +workload-low +9000 +ByUser/);
    assert.match(shown.out, /catch-all +catch-all +10000 +ByUser/);
    const levels = await fixture.kubectl(['get', 'prioritylevelconfigurations']);
    assert.match(levels.out, /exempt +Exempt +0 +<none> +<none> +<none>/, levels.err);
    assert.match(levels.out, /workload-low +Limited +100 +128 +6 +50/);
    await fixture.call('DELETE', `${FLOW}/flowschemas/service-accounts`);
    await until(
      async () => (await fixture.call('GET', `${FLOW}/flowschemas/service-accounts`)).status === 200,
      SECONDS,
    );
    const changed = { spec: { limited: { nominalConcurrencyShares: 7 } } };
    await put('PATCH', `${FLOW}/prioritylevelconfigurations/workload-low`, changed, merge);
    const sharesOf = async (): Promise<unknown> => {
      const { json } = await fixture.call('GET', `${FLOW}/prioritylevelconfigurations/workload-low`);
      return (json['spec'] as { limited: { nominalConcurrencyShares: number } }).limited.nominalConcurrencyShares;
    };
    await until(async () => (await sharesOf()) === 100, SECONDS);
    const own = { metadata: { annotations: { 'apf.kubernetes.io/autoupdate-spec': 'false' } }, ...changed };
    await put('PATCH', `${FLOW}/prioritylevelconfigurations/workload-low`, own, merge);
    assert.equal(await sharesOf(), 7);
  });

  test('what they must be', async () => {
    const refused = async (resource: string, name: string, spec: object, message: string): Promise<void> => {
      const answer = await fixture.call('POST', `${FLOW}/${resource}`, { body: { metadata: { name }, spec } });
      assert.equal(answer.status, 422, answer.text);
      assert.ok(answer.json.message.includes(message), answer.json.message);
    };
    const catchAll = await fixture.call('PATCH', `${FLOW}/flowschemas/catch-all`, {
      body: { spec: { matchingPrecedence: 5 } },
      headers: merge,
    });
    assert.match(catchAll.json.message, /spec of 'catch-all' must equal the fixed value/);
    const schema = schemaFor('jail');
    await refused(
      'flowschemas',
      'a',
      { ...schema, matchingPrecedence: 1 },
      "only the schema named 'exempt' may have matchingPrecedence 1",
    );
    await refused('flowschemas', 'a', { ...schema, matchingPrecedence: 10_001 }, 'must not be greater than 10000');
    await refused(
      'flowschemas',
      'a',
      { ...schema, distinguisherMethod: { type: 'ByHat' } },
      'supported values: "ByNamespace", "ByUser"',
    );
    await refused(
      'flowschemas',
      'a',
      { ...schema, rules: [{ subjects: [] }] },
      'subjects must contain at least one value',
    );
    await refused(
      'flowschemas',
      'a',
      {
        ...schema,
        rules: [{ subjects: [{ kind: 'User' }], nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['a'] }] }],
      },
      "user is required when subject kind is 'User'",
    );
    const levels = 'prioritylevelconfigurations';
    await refused(levels, 'b', { type: 'Exempt' }, "type must be 'Exempt' if and only if `name` is 'exempt'");
    await refused(levels, 'b', { type: 'Limited' }, 'must not be empty when type is Limited');
    await refused(levels, 'b', limited({ queues: 4, handSize: 5 }), 'should not be greater than queues (4)');
    await refused(levels, 'b', limited({ queues: 1_000_000, handSize: 8 }), 'should not be greater than 60');
    await refused(levels, 'b', limited({}, { lendablePercent: 101 }), 'must be between 0 and 100, inclusive');
  });

  test('every answer names its schema and level; a schema without its level is told and ignored', async () => {
    const uidOf = async (path: string): Promise<string> =>
      (await fixture.call('GET', `${FLOW}/${path}`)).json.metadata.uid ?? '';
    const named = async (as: KeyPair | undefined, schema: string, level: string): Promise<void> => {
      for (const path of [`${MAPS}/none`, '/apis']) {
        const { headers } = await fixture.call('GET', path, as === undefined ? {} : { as });
        assert.equal(headers['x-kubernetes-pf-flowschema-uid'], await uidOf(`flowschemas/${schema}`));
        assert.equal(headers['x-kubernetes-pf-prioritylevel-uid'], await uidOf(`prioritylevelconfigurations/${level}`));
      }
    };
    await named(undefined, 'exempt', 'exempt');
    await named(alice, 'global-default', 'global-default');
    await named(await fixture.issue('system:node:n', ['system:nodes']), 'system-nodes', 'system');
    await put('POST', `${FLOW}/flowschemas`, {
      metadata: { name: 'lost' },
      spec: schemaFor('nowhere', {
        rules: [
          {
            subjects: [{ kind: 'User', user: { name: '*' } }],
            nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
          },
        ],
      }),
    });
    const dangling = async (): Promise<unknown> => {
      const { json } = await fixture.call('GET', `${FLOW}/flowschemas/lost`);
      return (json['status'] as { conditions?: { status: string }[] }).conditions?.[0]?.status;
    };
    await until(async () => (await dangling()) === 'True', SECONDS);
    await named(alice, 'global-default', 'global-default');
  });

  test('who sends much waits behind itself, who sends one thing does not, and the administrator never', async () => {
    await put('POST', `${FLOW}/prioritylevelconfigurations`, {
      metadata: { name: 'jail' },
      spec: limited({ queues: 64, handSize: 6, queueLengthLimit: 50 }),
    });
    await put('POST', `${FLOW}/flowschemas`, { metadata: { name: 'jail' }, spec: schemaFor('jail') });
    const answers = [create('first', alice)];
    await until(async () => asked.length === 1, SECONDS);
    for (let number = 0; number < 12; number++) answers.push(create(`alice-${number}`, alice));
    await waiting(12);
    answers.push(create('bob', bob));
    await waiting(13);
    assert.equal(await gauge('current_executing_requests', 'jail'), 1);
    assert.equal((await fixture.call('GET', MAPS)).status, 200);
    assert.equal((await fixture.call('GET', MAPS, { as: bob })).status, 200);
    // One that goes away leaves the queue.
    const [host, port] = ['127.0.0.1', fixture.api.port];
    const { certificate: cert, key } = alice;
    const body = '{"metadata":{"name":"gone"}}';
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const leaving = request({
      host,
      port,
      path: MAPS,
      method: 'POST',
      headers,
      ca: fixture.authority.certificate,
      cert,
      key,
      agent: false,
    });
    leaving.on('error', () => undefined);
    leaving.end(body);
    await waiting(14);
    leaving.destroy();
    await waiting(13);
    release();
    assert.deepEqual(
      (await Promise.all(answers)).map(({ status }) => status),
      answers.map(() => 201),
    );
    assert.ok(asked.indexOf('bob') <= 2, asked.join(' '));
  });

  test('full queues refuse, and say when to come again', async () => {
    await put(
      'PATCH',
      `${FLOW}/prioritylevelconfigurations/jail`,
      { spec: limited({ queues: 64, handSize: 1, queueLengthLimit: 2 }) },
      merge,
    );
    holding = true;
    asked.length = 0;
    const answers = [create('second', alice)];
    await until(async () => asked.length === 1, SECONDS);
    answers.push(create('waits-1', alice), create('waits-2', alice));
    await waiting(2);
    const refused = await create('refused', alice);
    assert.equal(refused.status, 429);
    assert.equal(refused.headers['retry-after'], '1');
    assert.equal(refused.json.reason, 'TooManyRequests');
    assert.match(refused.headers['x-kubernetes-pf-prioritylevel-uid'] as string, /./);
    // Another's queue has room.
    answers.push(create('other', bob));
    await waiting(3);
    release();
    assert.deepEqual(
      (await Promise.all(answers)).map(({ status }) => status),
      answers.map(() => 201),
    );
    const { text } = await fixture.call('GET', '/metrics');
    assert.match(
      text,
      /apiserver_flowcontrol_rejected_requests_total\{flow_schema="jail",priority_level="jail",reason="queue-full"\} 1/,
    );
  });

  test('a level that does not queue refuses what finds no seat', async () => {
    const spec = { limited: { limitResponse: { type: 'Reject', queuing: null } } };
    await put('PATCH', `${FLOW}/prioritylevelconfigurations/jail`, { spec }, merge);
    holding = true;
    asked.length = 0;
    const running = create('third', alice);
    await until(async () => asked.length === 1, SECONDS);
    assert.equal((await create('none', bob)).status, 429);
    release();
    assert.equal((await running).status, 201);
  });
});

test('flow control: what waits too long is refused', async () => {
  const other = await apiFixture({ flowControl: { seats: 20, patience: 200 } });
  try {
    const worker = await other.issue('worker', ['workers']);
    const level = limited({ queues: 1, handSize: 1, queueLengthLimit: 5 }, { nominalConcurrencyShares: 0 });
    for (const [resource, object] of [
      ['prioritylevelconfigurations', { metadata: { name: 'jail' }, spec: level }],
      ['flowschemas', { metadata: { name: 'jail' }, spec: schemaFor('jail') }],
    ] as const)
      assert.equal((await other.call('POST', `${FLOW}/${resource}`, { body: object })).status, 201);
    const late = await other.call('POST', MAPS, { body: { metadata: { name: 'late' } }, as: worker });
    assert.equal(late.status, 429);
    const { text } = await other.call('GET', '/metrics');
    assert.match(text, /rejected_requests_total\{flow_schema="jail",priority_level="jail",reason="time-out"\} 1/);
  } finally {
    await other.close();
  }
});
