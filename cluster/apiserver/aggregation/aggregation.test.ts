/** Somebody else's API server behind ours, as clients meet it: by raw HTTPS and a stock kubectl. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import {
  type AggregatedServer,
  type Asked,
  aggregatedServer,
  createServiceFor,
  frontProxyPair,
  register,
} from '#testing/aggregated-server.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kubectlMissing } from '#testing/kubectl.ts';
import { when } from '#testing/when.ts';
import type { KeyPair } from '#lib/certificates.ts';
import type { Client } from '../../client/client.ts';
import { createClient } from '../../client/create.ts';
import type { Stored } from '../../kinds/kind.ts';
import { apiServices, configMaps, endpointSlices, services } from '../../kinds/resources.ts';
import type { APIService } from '../../kinds/types/apiregistration.ts';
import type { FrontProxy } from './aggregation.ts';

const GROUP = 'fish.example.com';
const NAME = `v1.${GROUP}`;
const BASE = `/apis/${GROUP}/v1`;
const fish = { apiVersion: `${GROUP}/v1`, kind: 'Fish', metadata: { name: 'cod', namespace: 'default' } };
const schema = {
  type: 'object',
  description: 'A fish that swims behind.',
  properties: {
    apiVersion: { type: 'string' },
    kind: { type: 'string' },
    fins: { type: 'integer', description: 'How many.' },
  },
  'x-kubernetes-group-version-kind': [{ group: GROUP, version: 'v1', kind: 'Fish' }],
};
const operation = {
  responses: { 200: { description: 'OK' } },
  'x-kubernetes-action': 'get',
  'x-kubernetes-group-version-kind': { group: GROUP, version: 'v1', kind: 'Fish' },
};
const itemPath = `${BASE}/namespaces/{namespace}/fishes/{name}`;

let fixture: ApiFixture;
let client: Client;
let frontProxy: FrontProxy;
let server: AggregatedServer;
let jane: KeyPair;

before(async () => {
  frontProxy = await frontProxyPair();
  fixture = await apiFixture({ frontProxy });
  client = createClient(fixture.api.transport({ name: 'admin', groups: ['system:masters'] }));
  jane = await fixture.issue('jane', ['divers']);
  server = await aggregatedServer('sea', frontProxy, {
    group: GROUP,
    version: 'v1',
    resources: [
      {
        name: 'fishes',
        singularName: 'fish',
        namespaced: true,
        kind: 'Fish',
        shortNames: ['fi'],
        verbs: ['get', 'list', 'watch', 'create'],
      },
      { name: 'fishes/status', singularName: '', namespaced: true, kind: 'Fish', verbs: ['get'] },
    ],
    documents: {
      '/openapi/v3': { paths: { [BASE.slice(1)]: { serverRelativeURL: `/openapi/v3${BASE}?hash=ABC` } } },
      [`/openapi/v3${BASE}`]: {
        openapi: '3.0.0',
        info: { title: 'fish', version: 'v1' },
        paths: { [itemPath]: { get: operation } },
        components: { schemas: { 'com.example.fish.v1.Fish': schema } },
      },
      '/openapi/v2': {
        swagger: '2.0',
        info: { title: 'fish', version: 'v1' },
        paths: { [itemPath]: { get: operation }, '/apis/else/v1/x': { get: operation } },
        definitions: { 'com.example.fish.v1.Fish': schema, 'io.k8s.api.core.v1.Pod': { type: 'string' } },
      },
    },
    handle(request, response) {
      const url = new URL(request.url ?? '', 'https://it');
      const headers = { 'content-type': 'application/json', 'x-sea': 'deep' };
      if (url.searchParams.has('watch')) {
        response.writeHead(200, headers);
        response.write(`${JSON.stringify({ type: 'ADDED', object: fish })}\n`);
      } else if (request.method === 'POST') {
        response.writeHead(201, headers);
        request.pipe(response);
      } else if (url.pathname.endsWith('/cod')) response.writeHead(200, headers).end(JSON.stringify(fish));
      else
        response
          .writeHead(200, headers)
          .end(JSON.stringify({ kind: 'FishList', apiVersion: `${GROUP}/v1`, metadata: {}, items: [fish] }));
    },
    upgrade(_request, socket) {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello');
    },
  });
});

after(async () => {
  await server.close();
  await fixture.close();
});

const available = (
  holds: (condition: { status: string; reason?: string; message?: string }) => boolean,
): Promise<Stored<APIService>[]> =>
  when(
    client,
    apiServices,
    (all) => {
      const found = all.find(({ metadata }) => metadata.name === NAME)?.status?.conditions?.[0];
      return found !== undefined && holds(found);
    },
    60,
  );
const isFor = (reason: string) => available((condition) => condition.reason === reason);

describe('aggregation', { concurrency: 1 }, () => {
  test('what is served here has APIServices, built in or custom', async () => {
    const all = await client.list(apiServices);
    const core = all.items.find(({ metadata }) => metadata.name === 'v1.');
    assert.equal(core?.spec?.groupPriorityMinimum, 18_000);
    assert.equal(core?.status?.conditions?.[0]?.reason, 'Local');
    assert.ok(all.items.some(({ metadata }) => metadata.name === 'v1.apps'));
    const names = { plural: 'reefs', singular: 'reef', kind: 'Reef', listKind: 'ReefList' };
    const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    const definition = {
      metadata: { name: 'reefs.coral.example.com' },
      spec: {
        group: 'coral.example.com',
        scope: 'Namespaced',
        names,
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: open } }],
      },
    };
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    assert.equal((await fixture.call('POST', path, { body: definition })).status, 201);
    const has = (wanted: boolean) =>
      when(
        client,
        apiServices,
        (some) => some.some(({ metadata }) => metadata.name === 'v1.coral.example.com') === wanted,
        60,
      );
    await has(true);
    await fixture.call('DELETE', `${path}/reefs.coral.example.com`);
    await has(false);
  });

  test('what an APIService must be', async () => {
    const post = (metadata: object, spec: object) =>
      fixture.call('POST', '/apis/apiregistration.k8s.io/v1/apiservices', { body: { metadata, spec } });
    const refused = await post(
      { name: 'wrong' },
      { group: 'a.b', version: 'v1', groupPriorityMinimum: 0, versionPriority: 1001, caBundle: 'YQ==' },
    );
    assert.equal(refused.status, 422);
    for (const text of [
      'metadata.name: Invalid value: "wrong": must be `spec.version+"."+spec.group`: "v1.a.b"',
      'spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000',
      'spec.versionPriority: Invalid value: 1001: must be positive and less than 1000',
      'local APIServices may not have a caBundle',
    ])
      assert.ok(refused.json.message.includes(text), refused.json.message);
  });

  test('it becomes available step by step, and each step is told', async () => {
    await register(client, 'sea', server);
    await isFor('ServiceNotFound');
    assert.equal((await fixture.call('GET', `${BASE}/fishes`)).status, 503);
    await client.create(services, { metadata: { name: 'sea', namespace: 'default' }, spec: { ports: [{ port: 80 }] } });
    await isFor('ServicePortError');
    await client.delete(services, 'sea', { namespace: 'default' });
    await isFor('ServiceNotFound');
    await client.create(services, {
      metadata: { name: 'sea', namespace: 'default' },
      spec: { ports: [{ name: 'https', port: 443 }] },
    });
    await isFor('MissingEndpoints');
    await client.delete(services, 'sea', { namespace: 'default' });
    await createServiceFor(client, 'sea', server);
    await available(
      ({ status, reason, message }) => status === 'True' && reason === 'Passed' && message === 'all checks passed',
    );
  });

  test('who asks is said to it, proven, and cannot be forged; the login stays here', async () => {
    const refused = await fixture.call('GET', `${BASE}/namespaces/default/fishes`, { as: jane });
    assert.equal(refused.status, 403);
    assert.match(
      refused.json.message,
      /fishes\.fish\.example\.com is forbidden: User "jane" cannot list resource "fishes"/,
    );
    assert.equal(server.asked.length, 0);
    await fixture.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      body: { metadata: { name: 'divers' }, rules: [{ apiGroups: [GROUP], resources: ['*'], verbs: ['*'] }] },
    });
    await fixture.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      body: {
        metadata: { name: 'divers' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'divers' },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'divers' }],
      },
    });
    const answer = await fixture.call('GET', `${BASE}/namespaces/default/fishes?limit=5`, {
      as: jane,
      headers: { 'x-remote-user': 'admin', 'x-remote-group': 'system:masters', 'x-other': 'kept' },
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['x-sea'], 'deep');
    const [{ path, headers } = { path: '', headers: {} as Asked['headers'] }] = server.asked.splice(0);
    assert.equal(path, `${BASE}/namespaces/default/fishes?limit=5`);
    assert.equal(headers['x-remote-user'], 'jane');
    assert.deepEqual(headers['x-remote-group'], 'divers, system:authenticated');
    assert.equal(headers['x-other'], 'kept');
    assert.equal(headers.host, 'sea.default.svc');
    const authorization = 'Bearer good';
    await fixture.call('GET', `${BASE}/namespaces/default/fishes`, { as: null, headers: { authorization } });
    const [token] = server.asked.splice(0);
    assert.equal(token?.headers['x-remote-user'], 'jane');
    assert.equal(token?.headers.authorization, undefined);
    await fixture.call('GET', `${BASE}/namespaces/default/fishes`, {
      headers: { 'impersonate-user': 'mia', 'impersonate-group': 'divers', 'impersonate-extra-scopes': 'all' },
    });
    const [acted] = server.asked.splice(0);
    assert.equal(acted?.headers['x-remote-user'], 'mia');
    assert.equal(acted?.headers['impersonate-user'], undefined);
    assert.equal(acted?.headers['x-remote-extra-scopes'], 'all');
    const config = await client.get(configMaps, 'extension-apiserver-authentication', 'kube-system');
    assert.equal(config.data?.['requestheader-client-ca-file'], frontProxy.ca);
    assert.equal(config.data?.['requestheader-allowed-names'], '["front-proxy-client"]');
    assert.equal(config.data?.['client-ca-file'], fixture.authority.certificate);
  });

  test('bodies, watches and connections that change their protocol pass through', async () => {
    const posted = await fixture.call('POST', `${BASE}/namespaces/default/fishes`, { body: { ...fish, fins: 7 } });
    assert.equal(posted.status, 201);
    assert.equal(posted.json['fins'], 7);
    for await (const event of await fixture.watch(`${BASE}/fishes?watch=1`)) {
      assert.equal(event.object.metadata.name, 'cod');
      break;
    }
    const asked = await overWebSocket('/namespaces/default/fishes/cod/talk', jane);
    assert.equal(asked?.headers['x-remote-user'], 'jane');
    assert.equal(asked?.headers.upgrade, 'websocket');
  });

  /** It is no WebSocket that answers; whether and how it was reached counts. */
  async function overWebSocket(path: string, { certificate, key }: KeyPair): Promise<Asked | undefined> {
    server.asked.splice(0);
    const url = `wss://127.0.0.1:${fixture.api.port}${BASE}${path}`;
    const socket = new WebSocket(url, { ca: fixture.authority.certificate, cert: certificate, key });
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const event of ['open', 'error']) socket.on(event, () => resolve());
    await promise;
    socket.terminate();
    return server.asked.find((asked) => asked.path === BASE + path);
  }

  test('a right to one object is one to watch it, however that is done', async () => {
    await fixture.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      body: {
        metadata: { name: 'anglers' },
        rules: [{ apiGroups: [GROUP], resources: ['fishes'], resourceNames: ['cod'], verbs: ['watch'] }],
      },
    });
    await fixture.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      body: {
        metadata: { name: 'anglers' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'anglers' },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'anglers' }],
      },
    });
    const [mike, nobody] = await Promise.all([fixture.issue('mike', ['anglers']), fixture.issue('nobody')]);
    const watchOf = (name: string) => `/fishes?watch=1&fieldSelector=metadata.name%3D${name}`;
    const asked = await overWebSocket(watchOf('cod'), mike);
    // It answers a WebSocket itself, as it does for upstream's clients.
    assert.deepEqual([asked?.headers['x-remote-user'], asked?.headers.upgrade], ['mike', 'websocket']);
    assert.equal(await overWebSocket(watchOf('eel'), mike), undefined);
    assert.equal(await overWebSocket(watchOf('cod'), nobody), undefined);
    const plain = (name: string) => fixture.open('GET', BASE + watchOf(name), { as: mike });
    const [allowed, refused] = await Promise.all([plain('cod'), plain('eel')]);
    assert.deepEqual([allowed.statusCode, refused.statusCode], [200, 403]);
    allowed.destroy();
    refused.destroy();
  });

  test('discovery and OpenAPI show it in every form', async () => {
    const groups = await fixture.call('GET', '/apis');
    const names = (groups.json['groups'] as { name: string }[]).map(({ name }) => name);
    assert.ok(names.includes(GROUP));
    assert.ok(names.indexOf('apps') < names.indexOf(GROUP));
    assert.equal((await fixture.call('GET', `/apis/${GROUP}`)).json['name'], GROUP);
    const list = await fixture.call('GET', BASE);
    assert.equal(list.json['groupVersion'], `${GROUP}/v1`);
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
    const aggregated = await fixture.call('GET', '/apis', { headers: { accept } });
    const found = aggregated.json.items.find(({ metadata }) => metadata.name === GROUP) as unknown as {
      versions: { freshness: string; resources: { resource: string; subresources: object[] }[] }[];
    };
    assert.equal(found.versions[0]?.freshness, 'Current');
    assert.equal(found.versions[0]?.resources[0]?.subresources.length, 1);
    const third = await fixture.call('GET', '/openapi/v3');
    const paths = third.json['paths'] as Record<string, { serverRelativeURL: string }>;
    const url = paths[BASE.slice(1)]?.serverRelativeURL ?? '';
    assert.equal(url, `/openapi/v3${BASE}?hash=ABC`);
    assert.match((await fixture.call('GET', url)).text, /swims behind/);
    const second = (await fixture.call('GET', '/openapi/v2')).json;
    assert.ok(Object.hasOwn(second['paths'] as object, itemPath));
    assert.ok(!Object.hasOwn(second['paths'] as object, '/apis/else/v1/x'));
    const definitions = second['definitions'] as Record<string, { type: string }>;
    assert.equal(definitions['io.k8s.api.core.v1.Pod']?.type, 'object');
    assert.ok(definitions['com.example.fish.v1.Fish']);
    const protobuf = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
    assert.equal((await fixture.call('GET', '/openapi/v2', { headers: { accept: protobuf } })).status, 200);
  });

  test('kubectl finds, shows and explains what it serves', { skip: kubectlMissing }, async () => {
    const run = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await fixture.kubectl(args);
      assert.equal(code, 0, err);
      return out;
    };
    assert.match(await run('api-resources', '--api-group', GROUP), /fishes +fi +fish\.example\.com\/v1 +true +Fish/);
    assert.match(await run('get', 'fi', 'cod', '-o', 'name'), /fish\.fish\.example\.com\/cod/);
    assert.match(await run('get', 'apiservice', NAME), /v1\.fish\.example\.com +default\/sea +True/);
    assert.match(await run('get', 'apiservice', 'v1.apps'), /v1\.apps +Local +True/);
    assert.match(await run('explain', 'fish.fins'), /How many/);
  });

  test('away, it is said at once and hurts nobody else; back, it is served again', async () => {
    await server.close();
    const failed = await fixture.call('GET', `${BASE}/namespaces/default/fishes/cod`);
    assert.equal(failed.status, 503);
    assert.match(failed.json.message, /service unavailable|error trying to reach service/);
    await isFor('FailedDiscoveryCheck');
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
    const aggregated = await fixture.call('GET', '/apis', { headers: { accept } });
    assert.match(aggregated.text, /"freshness":"Stale"/);
    assert.equal((await fixture.call('GET', '/api/v1/namespaces')).status, 200);
    await server.open();
    await isFor('Passed');
    assert.equal((await fixture.call('GET', `${BASE}/namespaces/default/fishes/cod`)).status, 200);
  });

  test('its certificate must be of its authority and for its Service, unless nobody minds', async () => {
    const change = (spec: object) => client.patch(apiServices, NAME, { type: 'merge', body: { spec } });
    const bundle = (pem: string): string => Buffer.from(pem).toString('base64');
    await change({ caBundle: bundle(fixture.authority.certificate) });
    await available(({ reason, message }) => reason === 'FailedDiscoveryCheck' && /certificate/.test(message ?? ''));
    await change({ caBundle: null, insecureSkipTLSVerify: true });
    await isFor('Passed');
    await change({ caBundle: bundle(server.ca), insecureSkipTLSVerify: null });
    await isFor('Passed');
    await client.delete(endpointSlices, 'sea', { namespace: 'default' });
    await isFor('MissingEndpoints');
  });

  test('built-in groups are nobody else’s; without the APIService the group is gone', async () => {
    await client.patch(apiServices, 'v1.apps', {
      type: 'merge',
      body: { spec: { service: { namespace: 'default', name: 'sea' }, insecureSkipTLSVerify: true } },
    });
    await when(
      client,
      apiServices,
      (all) =>
        all.some(
          ({ metadata, status }) => metadata.name === 'v1.apps' && status?.conditions?.[0]?.reason === 'ServiceNotUsed',
        ),
      60,
    );
    assert.equal((await fixture.call('GET', '/apis/apps/v1/deployments')).status, 200);
    await client.patch(apiServices, 'v1.apps', {
      type: 'merge',
      body: { spec: { service: null, insecureSkipTLSVerify: null } },
    });
    await when(
      client,
      apiServices,
      (all) =>
        all.some(({ metadata, status }) => metadata.name === 'v1.apps' && status?.conditions?.[0]?.reason === 'Local'),
      60,
    );
    await client.delete(apiServices, NAME);
    assert.equal((await fixture.call('GET', `${BASE}/fishes`)).status, 404);
    assert.equal((await fixture.call('GET', `/apis/${GROUP}`)).status, 404);
  });
});
