// The one thread is stood in for by a clock of the test: what is looked at is who is next, and not how long it takes.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import {
  mandatoryFlowSchemas,
  mandatoryPriorityLevels,
  suggestedFlowSchemas,
  suggestedPriorityLevels,
} from '../../kinds/flow-control-bootstrap.ts';
import { flowSchemas, priorityLevelConfigurations } from '../../kinds/resources.ts';
import { openSqliteStore } from '../../store/sqlite/open.ts';
import type { Store } from '../../store/store.ts';
import { Cache, kindPrefix } from '../cache.ts';
import type { Exchange, User } from '../exchange.ts';
import { Metrics } from '../metrics.ts';
import { FlowControl } from './flow-control.ts';

let directory: string;
let store: Store;
let cache: Cache;
let now = 0;
let order: string[] = [];

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flow-control-'));
  store = await openSqliteStore({ path: join(directory, 'store.db') });
  for (const [kind, objects] of [
    [flowSchemas, [...mandatoryFlowSchemas, ...suggestedFlowSchemas]],
    [priorityLevelConfigurations, [...mandatoryPriorityLevels, ...suggestedPriorityLevels]],
  ] as const)
    for (const [name, spec] of objects)
      await store.create(kindPrefix(kind) + name, Buffer.from(JSON.stringify({ metadata: { name, uid: name }, spec })));
  cache = new Cache(store, () => ({}));
  await cache.start(() => undefined);
});
after(async () => {
  await cache.close();
  await store.close();
  await rm(directory, { recursive: true, force: true });
});
beforeEach(() => {
  now = 0;
  order = [];
});

const control = (): FlowControl => new FlowControl({ cache, metrics: new Metrics() }, { clock: () => now, turn: 10 });

function request(name: string, groups: string[], path: string): Exchange {
  const user: User = { name, groups };
  const nothing = (): void => undefined;
  return {
    method: 'GET',
    path,
    query: new URLSearchParams(),
    headers: {},
    user,
    body: () => Promise.resolve(Buffer.alloc(0)),
    warnings: [],
    responder: {
      head: nothing,
      write: () => true,
      end: nothing,
      destroy: nothing,
      onDrain: nothing,
      onClose: nothing,
      started: false,
    },
  };
}

/** Asks as somebody for what takes so long; resolves when it was done. */
function ask(
  flow: FlowControl,
  who: string,
  milliseconds: number,
  groups = ['system:authenticated'],
  path = '/api/v1/namespaces/a/pods',
): Promise<void> {
  return new Promise((done) => {
    flow.run(request(who, groups, path), async () => {
      now += milliseconds;
      order.push(who);
      done();
    });
  });
}

describe('flow control of one thread', { concurrency: 1 }, () => {
  test('without a crowd everything is done at once, in the order of its coming', async () => {
    const flow = control();
    for (const who of ['a', 'b', 'a', 'c']) void ask(flow, who, 1);
    assert.deepEqual(order, ['a', 'b', 'a', 'c']);
  });

  test('who keeps the thread busy waits behind who does not, and the exempt wait for nobody', async () => {
    const flow = control();
    const all = Array.from({ length: 40 }, () => ask(flow, 'greedy', 20));
    all.push(ask(flow, 'modest', 1), ask(flow, 'other', 1));
    assert.deepEqual(order, ['greedy']);
    void ask(flow, 'admin', 1, ['system:masters', 'system:authenticated']);
    assert.deepEqual(order, ['greedy', 'admin']);
    await Promise.all(all);
    assert.equal(order.length, 43);
    for (const who of ['modest', 'other']) assert.ok(order.indexOf(who) <= 4, order.join(' '));
  });

  test('streams wait for their turn as everything, and then hold nobody up', async () => {
    const flow = control();
    const path = '/api/v1/namespaces/a/pods/p/log';
    const all = Array.from({ length: 40 }, () => ask(flow, 'greedy', 20, ['system:authenticated'], path));
    all.push(ask(flow, 'modest', 1, ['system:authenticated'], path));
    await Promise.all(all);
    assert.ok(order.indexOf('modest') <= 3, order.join(' '));
    // One that never ends has no seat.
    const endless = request('endless', ['system:authenticated'], path);
    flow.run(endless, () => new Promise(() => undefined));
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(flow.counts().every(({ running }) => running === 0));
  });

  test('of two that ask for the same the one with the dearer requests gets fewer of them', async () => {
    const flow = control();
    const all = Array.from({ length: 30 }, () => [ask(flow, 'dear', 30), ask(flow, 'cheap', 10)]).flat();
    await Promise.all(all);
    const cheap = order.slice(0, 24).filter((who) => who === 'cheap').length;
    assert.ok(cheap >= 15, order.join(' '));
  });

  test('levels have the time of their shares', async () => {
    const flow = control();
    const nodes = Array.from({ length: 30 }, () =>
      ask(flow, 'system:node:n', 10, ['system:nodes', 'system:authenticated']),
    );
    const others = Array.from({ length: 30 }, () => ask(flow, 'guest', 10));
    await Promise.all([...nodes, ...others]);
    // 30 shares of `system` to 20 of `global-default`.
    const before = order.slice(0, 40).filter((who) => who === 'system:node:n').length;
    assert.ok(before >= 22 && before <= 26, `${before}: ${order.join(' ')}`);
  });
});
