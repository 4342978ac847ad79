/** Routes that choose an instance by a header: it is always the same, few move when instances come and go, and none is overrun. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import test from 'node:test';
import type { Backend, Router } from './model.ts';
import { type App, backend, get, route, startApp, startRouter, until } from './testing.ts';

const HOST = 'h.apps.test';
const TENANTS = Array.from({ length: 40 }, (_, index) => `tenant-${index}`);

function hashed(name: string, apps: readonly App[], factor?: number): Backend {
  const balance = { header: 'tenant-id', ...(factor === undefined ? {} : { factor }) };
  return { ...backend(name, ...apps.map(({ endpoint }) => endpoint)), balance };
}

/** Which instance each tenant gets. */
async function places(router: Router): Promise<string[]> {
  const asked = TENANTS.map((tenant) => get(router, HOST, '/', { headers: { 'Tenant-Id': tenant } }));
  return (await Promise.all(asked)).map(({ body }) => body);
}

test('router: who says the same in a header gets the same instance, whoever comes and goes, and after reloads', async () => {
  await using one = await startApp('one');
  await using two = await startApp('two');
  await using three = await startApp('three');
  await using started = await startRouter({ hashPauseMilliseconds: 100 });
  const routes = [route(HOST, 'h')];
  await started.router.apply({ routes, backends: [hashed('h', [one, two])] });
  const first = await places(started.router);
  assert.deepEqual([...new Set(first)].sort(), ['one', 'two'], 'both have some');
  assert.deepEqual(await places(started.router), first);
  const turns = [];
  for (let round = 0; round < 4; round++) turns.push((await get(started.router, HOST)).body);
  assert.deepEqual([...new Set(turns)].sort(), ['one', 'two'], 'who says nothing takes turns');
  // Somebody comes: what moves goes there.
  await started.router.apply({ routes, backends: [hashed('h', [one, two, three])] });
  const grown = await places(started.router);
  const moved = grown.filter((place, index) => place !== first[index]);
  assert.ok(moved.length > 0 && moved.length < TENANTS.length / 2, `${moved.length} moved`);
  assert.deepEqual([...new Set(moved)], ['three']);
  // A reload, by another route that chooses: nobody moves.
  const { reloads } = started.router.status();
  const other = { ...hashed('other', [two]), balance: { header: 'user' } };
  await started.router.apply({
    routes: [...routes, route('other.apps.test', 'other')],
    backends: [hashed('h', [one, two, three]), other],
  });
  await until('the other one is declared', () => started.router.status().reloads > reloads);
  assert.deepEqual(await places(started.router), grown);
  assert.equal((await get(started.router, 'other.apps.test', '/', { headers: { user: 'x' } })).body, 'two');
  // Nor when the router is opened again, which needs no reload.
  await started.reopen();
  await started.router.apply({ routes, backends: [hashed('h', [three, two, one])] });
  assert.deepEqual(await places(started.router), grown);
  assert.equal(started.router.status().reloads, 0);
  // And when it goes again, all is as before.
  await started.router.apply({ routes, backends: [hashed('h', [one, two])] });
  assert.deepEqual(await places(started.router), first);
});

test('router: an instance that has more than its share leaves requests to the next one, where a route says how much', async () => {
  const held: ServerResponse[] = [];
  const holding = (name: string) => (_request: IncomingMessage, response: ServerResponse) => {
    response.write(name);
    held.push(response);
  };
  await using one = await startApp('one', holding('one'));
  await using two = await startApp('two', holding('two'));
  await using started = await startRouter({ hashPauseMilliseconds: 0 });
  const { router } = started;
  const hold = async (host: string): Promise<string> => {
    const headers = { host, 'tenant-id': 'large' };
    const sent = request({ host: '127.0.0.1', port: router.ports().http, headers, agent: false }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const [name] = (await once(response, 'data')) as [Buffer];
    response.resume();
    return String(name);
  };
  await router.apply({
    routes: [route('any.apps.test', 'any'), route('bound.apps.test', 'bound')],
    backends: [hashed('any', [one, two]), hashed('bound', [one, two], 150)],
  });
  const of = async (host: string): Promise<string[]> => {
    const names = [];
    for (let count = 0; count < 8; count++) names.push(await hold(host));
    return [...new Set(names)].sort();
  };
  assert.equal((await of('any.apps.test')).length, 1);
  assert.deepEqual(await of('bound.apps.test'), ['one', 'two']);
  for (const response of held) response.end();
});

test('router: routes that are changed all the time make no reload each time, and take turns meanwhile', async () => {
  await using one = await startApp('one');
  await using started = await startRouter({ hashPauseMilliseconds: 600_000 });
  const { router } = started;
  for (const header of ['a', 'b', 'c', 'd']) {
    const chosen = { ...hashed('h', [one]), balance: { header } };
    await router.apply({ routes: [route(HOST, 'h')], backends: [chosen] });
    assert.equal((await get(router, HOST)).body, 'one');
  }
  assert.equal(router.status().reloads, 1);
  const wrong = { ...hashed('h', [one]), balance: { header: 'a b' } };
  await assert.rejects(router.apply({ routes: [], backends: [wrong] }), /"balance" of backend h is .*a b/);
});
