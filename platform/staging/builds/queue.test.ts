import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextBuild, type Waiting } from './queue.ts';

const build = (guid: string, app: string, space: string, since: string): Waiting => ({ guid, app, space, since });

test('the oldest build of the space with fewest running is next', () => {
  const waiting = [build('1', 'a', 'busy', '1'), build('2', 'b', 'busy', '2'), build('3', 'c', 'calm', '3')];
  assert.equal(nextBuild(waiting, [], 2)?.guid, '1');
  assert.equal(nextBuild(waiting, [build('0', 'z', 'busy', '0')], 2)?.guid, '3');
  assert.equal(nextBuild(waiting, [build('0', 'z', 'busy', '0'), build('9', 'y', 'calm', '0')], 2), undefined);
});

test('an app is built once at a time', () => {
  const waiting = [build('2', 'a', 's', '1'), build('3', 'b', 's', '2')];
  assert.equal(nextBuild(waiting, [build('1', 'a', 's', '0')], 2)?.guid, '3');
});
