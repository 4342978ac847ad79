import assert from 'node:assert/strict';
import test from 'node:test';
import { backend, get, route, startApp, startRouter } from './testing.ts';

test('router: a route serves as soon as it was applied, and says so when it cannot', async () => {
  await using app = await startApp('hello');
  await using started = await startRouter();
  const { router } = started;
  const before = await get(router, 'hello.apps.test');
  assert.equal(before.status, 404);
  assert.equal(before.headers['x-cf-routererror'], 'unknown_route');
  await router.apply({ routes: [route('hello.apps.test', 'hello')], backends: [backend('hello', app.endpoint)] });
  const answer = await get(router, 'hello.apps.test');
  assert.equal(answer.status, 200);
  assert.equal(answer.body, 'hello');
  assert.equal(router.status().reloads, 0);
  await router.apply({ routes: [route('hello.apps.test', 'hello')], backends: [backend('hello')] });
  const none = await get(router, 'hello.apps.test');
  assert.equal(none.status, 503);
  assert.equal(none.headers['x-cf-routererror'], 'no_endpoints');
  assert.match(none.body, /hello\.apps\.test.* has no running instance/);
});
