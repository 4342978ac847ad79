import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { type ApiFixture, apiFixture, take } from '#testing/apiserver-fixture.ts';

describe('API server: watch', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  async function namespace(name: string): Promise<string> {
    await fixture.call('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
    return `/api/v1/namespaces/${name}/configmaps`;
  }
  const create = (path: string, name: string, labels: Record<string, string> = {}) =>
    fixture.call('POST', path, { body: { metadata: { name, labels } } });
  const label = (path: string, name: string, labels: Record<string, string | null>) =>
    fixture.call('PATCH', `${path}/${name}`, {
      body: { metadata: { labels } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });

  test('from a revision, every change comes once and in order', async () => {
    const path = await namespace('order');
    const { json } = await fixture.call('GET', path);
    await create(path, 'a');
    const events = await fixture.watch(`${path}?watch=1&resourceVersion=${json.metadata.resourceVersion}`);
    await label(path, 'a', { x: '1' });
    await fixture.call('DELETE', `${path}/a`);
    const seen = await take(events, 3);
    assert.deepEqual(
      seen.map(({ type }) => type),
      ['ADDED', 'MODIFIED', 'DELETED'],
    );
    const revisions = seen.map(({ object }) => Number(object.metadata.resourceVersion));
    assert.deepEqual(
      revisions,
      [...revisions].sort((a, b) => a - b),
    );
    assert.equal(new Set(revisions).size, 3);
    assert.deepEqual(seen[2]?.object.metadata.labels, { x: '1' }, 'a deleted object is shown as it last was');
    await events.return(undefined);
  });

  test('without a revision what is there comes first', async () => {
    const path = await namespace('initial');
    await create(path, 'a');
    await create(path, 'b');
    const events = await fixture.watch(`${path}?watch=true`);
    assert.deepEqual(
      (await take(events, 2)).map(({ type, object }) => [type, object.metadata.name]),
      [
        ['ADDED', 'a'],
        ['ADDED', 'b'],
      ],
    );
    await events.return(undefined);
  });

  test('initial events end with a bookmark that says so', async () => {
    const path = await namespace('streaming');
    await create(path, 'a');
    const query = 'watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan';
    const events = await fixture.watch(`${path}?${query}`);
    const [added, bookmark] = await take(events, 2);
    assert.equal(added?.type, 'ADDED');
    assert.equal(bookmark?.type, 'BOOKMARK');
    assert.deepEqual(bookmark?.object.metadata.annotations, { 'k8s.io/initial-events-end': 'true' });
    await events.return(undefined);
    const refused = await fixture.call('GET', `${path}?watch=true&sendInitialEvents=true`);
    assert.equal(refused.status, 422);
  });

  test('with a selector, objects come and go as they begin and cease to match', async () => {
    const path = await namespace('selected');
    const events = await fixture.watch(`${path}?watch=1&labelSelector=in%3Dyes`);
    await create(path, 'a');
    await create(path, 'b', { in: 'yes' });
    await label(path, 'a', { in: 'yes' });
    await label(path, 'a', { other: '1' });
    const left = await label(path, 'a', { in: null });
    const seen = await take(events, 4);
    assert.deepEqual(
      seen.map(({ type, object }) => [type, object.metadata.name]),
      [
        ['ADDED', 'b'],
        ['ADDED', 'a'],
        ['MODIFIED', 'a'],
        ['DELETED', 'a'],
      ],
    );
    assert.equal(seen[3]?.object.metadata.resourceVersion, left.json.metadata.resourceVersion);
    assert.equal(seen[3]?.object.metadata.labels?.['in'], 'yes', 'as it last was while it matched');
    await events.return(undefined);
  });

  test('one object is watched by its name, and the watch ends in time with a bookmark', async () => {
    const path = await namespace('single');
    await create(path, 'a');
    await create(path, 'b');
    const events = await fixture.watch(
      `${path}?watch=1&fieldSelector=metadata.name%3Db&timeoutSeconds=1&allowWatchBookmarks=true`,
    );
    const seen: string[] = [];
    for await (const { type, object } of events) seen.push(`${type} ${object.metadata.name ?? ''}`);
    assert.deepEqual(seen, ['ADDED b', 'BOOKMARK ']);
  });

  test('a watch goes on where it was after the server was restarted', async () => {
    const path = await namespace('restarted');
    const first = await create(path, 'a');
    await create(path, 'b');
    await fixture.restart();
    const events = await fixture.watch(`${path}?watch=1&resourceVersion=${first.json.metadata.resourceVersion}`);
    await create(path, 'c');
    assert.deepEqual(
      (await take(events, 2)).map(({ object }) => object.metadata.name),
      ['b', 'c'],
    );
    await events.return(undefined);
  });

  test('a revision that history no longer holds is gone', async () => {
    const path = await namespace('old');
    await create(path, 'a');
    await create(path, 'b');
    await fixture.store.compact(await fixture.store.revision());
    await fixture.restart();
    const [event] = await take(await fixture.watch(`${path}?watch=1&resourceVersion=1`), 1);
    assert.equal(event?.type, 'ERROR');
    assert.deepEqual([event?.object['code'], event?.object['reason']], [410, 'Expired']);
    assert.match(String(event?.object['message']), /too old resource version: 1/);
  });

  test('tables name their columns once', async () => {
    const path = await namespace('tables');
    await create(path, 'a');
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const events = await fixture.watch(`${path}?watch=1`, { headers: { accept } });
    await create(path, 'b');
    const [first, second] = await take(events, 2);
    assert.equal(first?.object.kind, 'Table');
    const shown = (event: typeof first | undefined) =>
      event?.object as unknown as { columnDefinitions: unknown[] | null; rows: { cells: unknown[] }[] };
    assert.equal(shown(first).columnDefinitions?.length, 3);
    assert.equal(shown(second).columnDefinitions, null);
    assert.equal(shown(second).rows[0]?.cells[0], 'b');
    await events.return(undefined);
  });

  test('who does not read is dropped, and holds up nobody', async () => {
    const path = await namespace('slow');
    const admin = await fixture.issue('admin', ['system:masters']);
    const socket = tls.connect({
      host: '127.0.0.1',
      port: fixture.api.port,
      ca: fixture.authority.certificate,
      cert: admin.certificate,
      key: admin.key,
    });
    await once(socket, 'secureConnect');
    socket.write(`GET ${path}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    const closed = once(socket, 'close');
    const events = await fixture.watch(`${path}?watch=1`);
    const text = 'x'.repeat(900_000);
    let latest = '';
    for (let round = 0; round < 30; round++) {
      const answer =
        round === 0
          ? await fixture.call('POST', path, { body: { metadata: { name: 'big' }, data: { text } } })
          : await fixture.call('PUT', `${path}/big`, {
              body: { metadata: { name: 'big' }, data: { text, round: String(round) } },
            });
      latest = answer.json.metadata.resourceVersion ?? '';
      const [event] = await take(events, 1);
      assert.equal(event?.object.metadata.resourceVersion, latest);
    }
    socket.on('error', () => undefined);
    socket.resume();
    await closed;
    await events.return(undefined);
    const { text: metrics } = await fixture.call('GET', '/metrics');
    assert.match(metrics, /apiserver_terminated_watchers_total 1\n/);
  });
});
