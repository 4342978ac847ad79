import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LastTurns, nextBuild, type Waiting } from './queue.ts';

let time = 0;
const build = (space: string, app = `app-${time}`, organization = 'o'): Waiting => {
  time += 1;
  return { guid: `${space}-${time}`, app, space, organization, since: new Date(time * 1000).toISOString() };
};

/** Runs all with so many at once; each ends when the next is taken. */
function orderOf(waiting: readonly Waiting[], slots: number): string[] {
  const lastTurns = new LastTurns();
  const left = [...waiting];
  const running: Waiting[] = [];
  const order: string[] = [];
  while (left.length > 0) {
    if (running.length === slots) running.shift();
    const next = nextBuild(left, running, { slots, lastTurns });
    assert.ok(next);
    left.splice(left.indexOf(next), 1);
    running.push(next);
    lastTurns.note(next);
    order.push(next.space);
  }
  return order;
}

test('spaces take turns, however few run at once', () => {
  const many = ['a', 'a', 'a', 'a', 'b', 'c', 'c'].map((space) => build(space));
  assert.deepEqual(orderOf(many, 1), ['a', 'b', 'c', 'a', 'c', 'a', 'a']);
  assert.deepEqual(orderOf(many, 3), ['a', 'b', 'c', 'a', 'c', 'a', 'a']);
});

test('organizations take turns before their spaces do', () => {
  const builds = [
    ...['a1', 'a2', 'a3', 'a1'].map((space) => build(space, undefined, 'A')),
    build('b1', undefined, 'B'),
    build('b1', undefined, 'B'),
  ];
  assert.deepEqual(orderOf(builds, 1), ['a1', 'b1', 'a2', 'b1', 'a3', 'a1']);
});

test('an app builds once at a time, and slots are a limit', () => {
  const lastTurns = new LastTurns();
  const first = build('a', 'same');
  const second = build('a', 'same');
  const third = build('a', 'other');
  assert.equal(nextBuild([second, third], [first], { slots: 2, lastTurns }), third);
  assert.equal(nextBuild([second], [first], { slots: 2, lastTurns }), undefined);
  assert.equal(nextBuild([second, third], [first], { slots: 1, lastTurns }), undefined);
});

test('what is over is forgotten, what waits keeps its place', () => {
  const lastTurns = new LastTurns();
  const [a, b] = [build('a'), build('b')];
  lastTurns.note(a);
  lastTurns.note(b);
  lastTurns.forgetAllBut([b]);
  assert.deepEqual([lastTurns.lastOf('space', 'a'), lastTurns.lastOf('space', 'b')], [0, 2]);
});
