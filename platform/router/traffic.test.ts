/** Which instance gets a request: weights, the fewest connections, sessions; and that none is ever given twice. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request, type ServerResponse } from 'node:http';
import test from 'node:test';
import type { Backend } from './model.ts';
import { type Answer, backend, get, route, startApp, startRouter } from './testing.ts';

function tally(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { body } of answers) counts[body] = (counts[body] ?? 0) + 1;
  return counts;
}

test('router: weights share requests out, one instance at two ports too', async () => {
  await using one = await startApp('one');
  await using two = await startApp('two');
  await using started = await startRouter();
  const { router } = started;
  const shared = (...weights: [number, number]): Backend =>
    backend(
      'w',
      { ...one.endpoint, name: 'same', weight: weights[0] },
      { ...two.endpoint, name: 'same', weight: weights[1] },
    );
  const ask = async (count: number): Promise<Record<string, number>> => {
    const answers: Answer[] = [];
    for (let round = 0; round < count; round++) answers.push(await get(router, 'w.apps.test'));
    return tally(answers);
  };
  const routes = [route('w.apps.test', 'w')];
  await router.apply({ routes, backends: [shared(180, 60)] });
  assert.deepEqual(await ask(40), { one: 30, two: 10 });
  await router.apply({ routes, backends: [shared(0, 60)] });
  assert.deepEqual(await ask(5), { two: 5 });
  assert.equal(router.status().reloads, 0);
});

test('router: the fewest connections come first where a route says so, and a route may change its mind', async () => {
  const held: ServerResponse[] = [];
  const holding = (name: string) => (incoming: IncomingMessage, response: ServerResponse) => {
    if (incoming.url === '/hold') {
      response.write(name);
      held.push(response);
    } else response.end(name);
  };
  await using one = await startApp('one', holding('one'));
  await using two = await startApp('two', holding('two'));
  await using started = await startRouter();
  const { router } = started;
  const routes = [route('l.apps.test', 'l')];
  const both = backend('l', one.endpoint, two.endpoint);
  await router.apply({ routes, backends: [{ ...both, balance: 'least-connections' }] });
  const hold = async (): Promise<string> => {
    const sent = request({
      host: '127.0.0.1',
      port: router.ports().http,
      path: '/hold',
      headers: { host: 'l.apps.test' },
      agent: false,
    }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const [name] = (await once(response, 'data')) as [Buffer];
    return String(name);
  };
  // Both get one, so that they are even; then the one that is done is asked again and again.
  const first = [await hold(), await hold()];
  assert.deepEqual(first.toSorted(), ['one', 'two']);
  held[0]?.end();
  const free = first[0] ?? '';
  // HAProxy may count an answer for a moment longer than we wait for it. Who takes turns never gets four in a row.
  let row = 0;
  for (let round = 0; row < 4; round++) {
    assert.ok(round < 100, 'they take turns');
    row = (await get(router, 'l.apps.test')).body === free ? row + 1 : 0;
  }
  await router.apply({ routes, backends: [both] });
  const turns = [];
  for (let round = 0; round < 4; round++) turns.push(await get(router, 'l.apps.test'));
  assert.deepEqual(tally(turns), { one: 2, two: 2 });
  assert.equal(router.status().reloads, 0);
});

test('router: a session leaves an instance that drains, and is told its new one', async () => {
  const session = (name: string) => (incoming: IncomingMessage, response: ServerResponse) => {
    if (incoming.url === '/login') response.setHeader('set-cookie', 'JSESSIONID=1; Path=/; Secure; SameSite=None');
    response.end(name);
  };
  await using one = await startApp('one', session('one'));
  await using two = await startApp('two', session('two'));
  await using started = await startRouter();
  const { router } = started;
  const routes = [route('s.apps.test', 's')];
  await router.apply({ routes, backends: [backend('s', one.endpoint, two.endpoint)] });
  const cookieOf = ({ headers }: Answer): string =>
    (headers['set-cookie'] ?? []).find((cookie) => cookie.startsWith('__VCAP_ID__=')) ?? '';
  const login = await get(router, 's.apps.test', '/login');
  assert.match(cookieOf(login), /^__VCAP_ID__=[^;]+; Path=\/; HttpOnly; SameSite=None; Secure$/);
  const ask = (cookie: string): Promise<Answer> =>
    get(router, 's.apps.test', '/', { headers: { cookie: `JSESSIONID=1; ${cookie.split(';')[0]}` } });
  for (let round = 0; round < 4; round++) {
    const answer = await ask(cookieOf(login));
    assert.deepEqual([answer.body, cookieOf(answer)], [login.body, '']);
  }
  const [stays, leaves] = login.body === 'one' ? [two, one] : [one, two];
  await router.apply({
    routes,
    backends: [backend('s', stays.endpoint, { ...leaves.endpoint, draining: true })],
  });
  const moved = await ask(cookieOf(login));
  assert.notEqual(moved.body, login.body);
  assert.match(cookieOf(moved), /^__VCAP_ID__=/);
  await router.apply({ routes, backends: [backend('s', one.endpoint, two.endpoint)] });
  for (let round = 0; round < 4; round++) {
    const answer = await ask(cookieOf(moved));
    assert.deepEqual([answer.body, cookieOf(answer)], [moved.body, '']);
  }
});

test('router: what is not idempotent reaches an app once, whatever becomes of the connection', async () => {
  const seen = new Map<string, number>();
  const count = ({ url = '' }: IncomingMessage): void => void seen.set(url, (seen.get(url) ?? 0) + 1);
  /** Takes each request whole, and ends the connection instead of an answer. */
  await using rude = await startApp('rude', (incoming) => {
    count(incoming);
    incoming.resume().once('end', () => incoming.socket.destroy());
  });
  /** Answers, and ends the connection without a word right after: the next request may be on its way there. */
  await using hasty = await startApp('hasty', (incoming, response) => {
    count(incoming);
    incoming.resume().once('end', () => {
      response.end('done');
      setImmediate(() => incoming.socket.destroy());
    });
  });
  await using polite = await startApp('polite');
  await using started = await startRouter();
  const { router } = started;
  await router.apply({
    routes: [route('rude.apps.test', 'r'), route('hasty.apps.test', 'h'), route('both.apps.test', 'b')],
    backends: [
      backend('r', rude.endpoint),
      backend('h', hasty.endpoint),
      backend('b', { ...rude.endpoint, weight: 100 }, polite.endpoint),
    ],
  });
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    const answer = await get(router, 'rude.apps.test', `/${method}`, { method, body: 'x' });
    assert.deepEqual([answer.status, seen.get(`/${method}`)], [502, 1], method);
    assert.equal(answer.headers['x-cf-routererror'], 'endpoint_failure');
  }
  // What is safe to repeat goes to the other instance.
  for (let round = 0; round < 6; round++) assert.equal((await get(router, 'both.apps.test')).body, 'polite');

  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let done = 0;
  for (let round = 0; round < 100; round++) {
    const path = `/hasty/${round}`;
    const sent = request({
      host: '127.0.0.1',
      port: router.ports().http,
      method: 'POST',
      path,
      headers: { host: 'hasty.apps.test' },
      agent,
    });
    sent.end('x');
    const answer = await new Promise<IncomingMessage | undefined>((resolve) => {
      sent.once('response', resolve).once('error', () => resolve(undefined));
    });
    if (answer?.statusCode === 200) done++;
    if (answer) await answer.toArray().catch(() => undefined);
    assert.ok((seen.get(path) ?? 0) <= 1, `${path} came ${seen.get(path)} times`);
  }
  agent.destroy();
  assert.ok(done > 0);
});
