/** The promises of `cluster/client/client.ts`, for every transport, against the real API server. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ApiError, type Client, type WatchEvent } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Transport } from '#cluster/client/transport.ts';
import { configMaps, nodes, pods, replicaSets } from '#cluster/kinds/resources.ts';
import type { ConfigMap } from '#cluster/kinds/types/core.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';

async function rejectsWith(code: number, reason: string, action: Promise<unknown>): Promise<ApiError> {
  const error = await action.then(
    () => assert.fail(`expected ${code} ${reason}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ApiError, String(error));
  assert.deepEqual([error.code, error.reason], [code, reason], error.message);
  return error;
}

export function clientContract(name: string, open: (plane: ControlPlane) => Transport): void {
  describe(`client contract: ${name}`, () => {
    let plane: ControlPlane;
    let client: Client;
    let namespace: string;

    before(async () => {
      plane = await startControlPlane();
      client = createClient(open(plane));
      namespace = await plane.namespace('contract');
    });
    after(() => plane.close());

    const map = (mapName: string, data: Record<string, string>, labels?: Record<string, string>): ConfigMap => ({
      metadata: { name: mapName, namespace, ...(labels && { labels }) },
      data,
    });

    it('creates, gets, updates and deletes; errors carry code, reason and status', async () => {
      const created = await client.create(configMaps, map('crud', { a: '1' }));
      assert.ok(created.metadata.uid && created.metadata.creationTimestamp);
      assert.equal(
        (await rejectsWith(409, 'AlreadyExists', client.create(configMaps, map('crud', {})))).status?.kind,
        'Status',
      );
      const updated = await client.update(configMaps, { ...created, data: { a: '2' } });
      assert.notEqual(updated.metadata.resourceVersion, created.metadata.resourceVersion);
      await rejectsWith(409, 'Conflict', client.update(configMaps, { ...created, data: { a: '3' } }));
      assert.deepEqual((await client.get(configMaps, 'crud', namespace)).data, { a: '2' });
      const other = { preconditions: { uid: '00000000-0000-0000-0000-000000000000' } };
      await rejectsWith(409, 'Conflict', client.delete(configMaps, 'crud', { namespace, ...other }));
      await client.delete(configMaps, 'crud', { namespace, preconditions: { uid: created.metadata.uid } });
      await rejectsWith(404, 'NotFound', client.get(configMaps, 'crud', namespace));
      const invalid = await rejectsWith(422, 'Invalid', client.create(configMaps, map('Not A Name', {})));
      assert.match(invalid.message, /metadata\.name/);
    });

    it('patches in every way, and status apart', async () => {
      await client.create(configMaps, map('patched', { a: '1', b: '2' }));
      const at = { namespace };
      const merged = await client.patch(
        configMaps,
        'patched',
        { type: 'merge', body: { data: { b: null, c: '3' } } },
        at,
      );
      assert.deepEqual(merged.data, { a: '1', c: '3' });
      const operations = [
        { op: 'test', path: '/data/a', value: '1' },
        { op: 'replace', path: '/data/a', value: '9' },
      ];
      const json = await client.patch(configMaps, 'patched', { type: 'json', operations }, at);
      assert.deepEqual(json.data, { a: '9', c: '3' });
      const strategic = await client.patch(
        configMaps,
        'patched',
        { type: 'strategic', body: { data: { d: '4' } } },
        at,
      );
      assert.deepEqual(strategic.data, { a: '9', c: '3', d: '4' });
      const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace }, data: { x: 'y' } };
      const applied = await client.patch(
        configMaps,
        'applied',
        { type: 'apply', body, fieldManager: 'contract', force: true },
        at,
      );
      assert.deepEqual(applied.data, { x: 'y' });

      const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
      const set = await client.create(replicaSets, {
        metadata: { name: 'set', namespace },
        spec: { replicas: 0, selector: { matchLabels: { app: 'x' } }, template },
      });
      const changed = {
        ...set,
        spec: { ...set.spec, selector: { matchLabels: { app: 'x' } }, replicas: 5 },
        status: { replicas: 7 },
      };
      const status = await client.updateStatus(replicaSets, changed);
      assert.deepEqual([status.status?.replicas, status.spec?.replicas], [7, 0]);
    });

    it('lists by labels and fields, in pages', async () => {
      for (const index of [0, 1, 2, 3, 4]) {
        await client.create(configMaps, map(`list-${index}`, {}, { group: 'list', odd: String(index % 2) }));
      }
      const names = (list: { items: { metadata: { name: string } }[] }): string[] =>
        list.items.map(({ metadata }) => metadata.name);
      const odd = await client.list(configMaps, { namespace, labelSelector: 'group=list,odd=1' });
      assert.deepEqual(names(odd), ['list-1', 'list-3']);
      assert.ok(odd.items.every(({ kind, apiVersion }) => kind === 'ConfigMap' && apiVersion === 'v1'));
      assert.deepEqual(names(await client.list(configMaps, { fieldSelector: 'metadata.name=list-2' })), ['list-2']);
      const seen: string[] = [];
      let next: string | undefined;
      do {
        const page = await client.list(configMaps, {
          namespace,
          labelSelector: 'group=list',
          limit: 2,
          ...(next && { continue: next }),
        });
        seen.push(...names(page));
        next = page.continue;
      } while (next);
      assert.deepEqual(seen, ['list-0', 'list-1', 'list-2', 'list-3', 'list-4']);
      await client.deleteCollection(configMaps, { namespace, labelSelector: 'group=list,odd=0' });
      assert.deepEqual(names(await client.list(configMaps, { namespace, labelSelector: 'group=list' })), [
        'list-1',
        'list-3',
      ]);
    });

    it('watches from a revision, ends by its signal, and says when it cannot begin', async () => {
      const stop = new AbortController();
      const { resourceVersion } = await client.list(configMaps, { namespace });
      const events: WatchEvent<ConfigMap>[] = [];
      const done = (async () => {
        for await (const event of client.watch(configMaps, {
          namespace,
          resourceVersion,
          signal: stop.signal,
          labelSelector: 'watch=yes',
        })) {
          if (event.type === 'BOOKMARK') continue;
          events.push(event);
          if (events.length === 4) stop.abort();
        }
      })();
      const created = await client.create(
        configMaps,
        map('watched', { text: 'line\nbreak é'.repeat(20_000) }, { watch: 'yes' }),
      );
      await client.create(configMaps, map('not-watched', {}));
      await client.update(configMaps, { ...created, data: {} });
      const unlabelled = await client.patch(
        configMaps,
        'watched',
        { type: 'merge', body: { metadata: { labels: null } } },
        { namespace },
      );
      assert.equal(unlabelled.metadata.labels, undefined);
      await client.create(configMaps, map('watched-too', {}, { watch: 'yes' }));
      await done;
      assert.deepEqual(
        events.map((event) => event.type !== 'BOOKMARK' && [event.type, event.object.metadata.name]),
        [
          ['ADDED', 'watched'],
          ['MODIFIED', 'watched'],
          ['DELETED', 'watched'],
          ['ADDED', 'watched-too'],
        ],
      );
      assert.ok(events[0]?.type !== 'BOOKMARK' && events[0]?.object.data?.['text'] === created.data?.['text']);

      await plane.store.compact(await plane.store.revision());
      const watch = client.watch(configMaps, { resourceVersion: '1', signal: new AbortController().signal });
      await rejectsWith(410, 'Expired', watch[Symbol.asyncIterator]().next());
    });

    it('keeps a copy in an informer, with indexes, and waits for revisions', async () => {
      const informer = createInformer(client, configMaps, {
        namespace,
        labelSelector: 'informer=yes',
        indexes: { colour: ({ data }) => (data?.['colour'] ? [data['colour']] : []) },
      });
      const changes: string[] = [];
      informer.onChange((now, old) =>
        changes.push(`${now ? (old ? 'changed' : 'added') : 'removed'} ${(now ?? old)?.metadata.name}`),
      );
      await client.create(configMaps, map('first', { colour: 'red' }, { informer: 'yes' }));
      await informer.synced;
      const second = await client.create(configMaps, map('second', { colour: 'red' }, { informer: 'yes' }));
      await informer.reached(second.metadata.resourceVersion);
      const names = (objects: { metadata: { name: string } }[]): string[] =>
        objects.map(({ metadata }) => metadata.name).toSorted();
      assert.deepEqual(names(informer.byIndex('colour', 'red')), ['first', 'second']);
      const blue = await client.update(configMaps, { ...second, data: { colour: 'blue' } });
      await informer.reached(blue.metadata.resourceVersion);
      assert.deepEqual(names(informer.byIndex('colour', 'red')), ['first']);
      assert.deepEqual(informer.get('second', namespace)?.data, { colour: 'blue' });
      await client.delete(configMaps, 'first', { namespace });
      const last = await client.create(configMaps, map('third', {}, { informer: 'yes' }));
      await informer.reached(last.metadata.resourceVersion);
      assert.deepEqual(names(informer.list()), ['second', 'third']);
      assert.deepEqual(changes, ['added first', 'added second', 'changed second', 'removed first', 'added third']);
      const never = informer.reached(String(Number.MAX_SAFE_INTEGER), AbortSignal.timeout(5));
      await assert.rejects(never, { name: 'TimeoutError' });
      informer.close();
    });

    it('binds pods, and refuses to bind one twice', async () => {
      await client.create(nodes, { metadata: { name: 'contract-node' } });
      const pod = await client.create(pods, {
        metadata: { name: 'bound', namespace },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      });
      await client.bind({ name: 'bound', namespace, uid: pod.metadata.uid }, 'contract-node');
      const bound = await client.get(pods, 'bound', namespace);
      assert.equal(bound.spec?.nodeName, 'contract-node');
      assert.equal(bound.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.status, 'True');
      await rejectsWith(409, 'Conflict', client.bind({ name: 'bound', namespace }, 'other'));
    });

    it('sends raw requests, and gives up when it is told to', async () => {
      const version = await client.request<{ gitVersion: string }>({ method: 'GET', path: '/version' });
      assert.match(version.gitVersion, /^v1\./);
      await rejectsWith(404, 'NotFound', client.request({ method: 'GET', path: '/apis/no.such.group/v1/things' }));
      await assert.rejects(client.list(configMaps, { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
      await assert.rejects(client.get(configMaps, 'x'), /namespaced/);
    });

    it('refuses to run a command in a pod that is nowhere', async () => {
      await client.create(pods, {
        metadata: { name: 'nowhere', namespace },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      });
      await assert.rejects(client.exec({ name: 'nowhere', namespace }, { command: ['true'] }), ApiError);
      await assert.rejects(client.exec({ name: 'missing', namespace }, { command: ['true'] }), ApiError);
    });
  });
}
