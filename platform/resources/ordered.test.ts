import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Informer } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { Ordered } from './ordered.ts';

interface Thing {
  metadata: { name: string; uid: string };
  spec: { size: number };
}
type Listener = Parameters<Informer<Thing>['onChange']>[0];

/** An informer's events without a server: its objects are named by its caller, in any order. */
function events() {
  const objects = new Map<string, Stored<Thing>>();
  const listeners = new Set<Listener>();
  const put = (name: string, now: Stored<Thing> | undefined): void => {
    const old = objects.get(name);
    if (now) objects.set(name, now);
    else objects.delete(name);
    if (now || old) for (const listener of listeners) listener(now, old);
  };
  const informer: Pick<Informer<Thing>, 'list' | 'onChange'> = {
    list: () => [...objects.values()],
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return { informer, put, listeners };
}

let versions = 0;
function thing(name: string, size: number, uid = name): Stored<Thing> {
  const metadata = { name, uid, resourceVersion: String(++versions), creationTimestamp: '2026-01-01T00:00:00Z' };
  return { metadata, spec: { size } } as Stored<Thing>;
}

const keyOf = ({ metadata, spec }: Stored<Thing>): string => `${String(spec.size).padStart(4, '0')} ${metadata.name}`;
const inOrder = (objects: Stored<Thing>[]): Stored<Thing>[] =>
  objects.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));

test('whatever comes, changes and goes, all are there once, the newest of each, in their order', () => {
  const { informer, put } = events();
  for (let number = 0; number < 50; number++)
    put(`n${(number * 37) % 50}`, thing(`n${(number * 37) % 50}`, number % 7));
  const ordered = new Ordered(informer, keyOf);
  // A random walk that is the same each time.
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
  for (let round = 0; round < 2000; round++) {
    const name = `n${random(80)}`;
    // Gone, in its place, elsewhere, or another of the same name.
    const kind = random(4);
    const before = informer.list().find(({ metadata }) => metadata.name === name);
    if (kind === 0) put(name, undefined);
    else if (kind === 1 && before) put(name, thing(name, before.spec.size));
    else if (kind === 2) put(name, thing(name, random(9)));
    else put(name, thing(name, random(9), `${name}-${round}`));
    if (round % 3 === 0) assert.deepEqual(ordered.all(), inOrder(informer.list()));
  }
});

test('who asks may do with the answer what they like, and nothing is kept for who has closed it', () => {
  const { informer, put, listeners } = events();
  put('b', thing('b', 1));
  put('a', thing('a', 1));
  const ordered = new Ordered(informer, keyOf);
  const names = (): string[] => ordered.all().map(({ metadata }) => metadata.name);
  ordered.all().reverse().pop();
  assert.deepEqual(names(), ['a', 'b']);
  // What an event says was there is not: everything is read again.
  for (const listener of listeners) listener(undefined, thing('c', 1));
  assert.deepEqual(names(), ['a', 'b']);
  ordered.close();
  assert.equal(listeners.size, 0);
});
