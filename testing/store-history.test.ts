import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkHistory, type HistoryEvent, type Operation } from './store-history.ts';

const event = (type: HistoryEvent['type'], revision: number, previous: number, value: string): HistoryEvent => ({
  type,
  key: '/k',
  value,
  revision,
  previous,
});
const EVENTS = [event('create', 1, 0, 'a'), event('update', 2, 1, 'b'), event('delete', 3, 2, 'b')];

const create: Operation = op('create', [0, 1], { told: 'written', revision: 1 }, { value: 'a' });
const update: Operation = op('update', [2, 3], { told: 'written', revision: 2 }, { value: 'b', expected: 1 });
const remove: Operation = op('delete', [4, 5], { told: 'written', revision: 3 }, { expected: 2 });

function op(
  verb: Operation['verb'],
  [begun, ended]: [number, number],
  outcome: { told: 'written' | 'seen'; revision: number } | { told: 'not-done' } | { told: 'unknown' },
  more: Partial<Operation> = {},
): Operation {
  return { verb, key: '/k', begun, outcome: { ended, ...outcome } as Operation['outcome'], ...more };
}

function complaints(operations: Operation[], events = EVENTS): string[] {
  return checkHistory(new Map(), events, operations).complaints;
}

describe('the check of a history', () => {
  it('finds nothing where everything is true', () => {
    const reads = [
      op('get', [0, 1.5], { told: 'seen', revision: 0 }), // At the same time as the create: before or after.
      op('get', [0.5, 1.5], { told: 'seen', revision: 1 }),
      op('get', [3.5, 3.6], { told: 'seen', revision: 2 }),
      op('get', [4, 9], { told: 'seen', revision: 2 }),
      op('update', [6, 7], { told: 'seen', revision: 0 }, { value: 'c', expected: 2 }),
      op('create', [8, 9], { told: 'not-done' }, { value: 'd' }),
    ];
    assert.deepEqual(complaints([create, update, remove, ...reads]), []);
  });

  it('takes what nobody knows as done or not, and tells what is left', () => {
    const unknown = op('update', [2, 3], { told: 'unknown' }, { value: 'b', expected: 1 });
    const never = op('create', [6, 7], { told: 'unknown' }, { value: 'z' });
    const checked = checkHistory(new Map(), EVENTS, [create, unknown, remove, never]);
    assert.deepEqual(checked, { complaints: [], unsettled: [never] });
  });

  const lies: [string, Operation[], RegExp, HistoryEvent[]?][] = [
    [
      'an acknowledged write that is not there',
      [create, update, remove, op('create', [6, 7], { told: 'written', revision: 4 }, { value: 'x' })],
      /acknowledged, and history has nothing/,
    ],
    ['one revision for two writes', [create, update, { ...update }, remove], /acknowledged, and history has/],
    [
      'a write that was told as not done',
      [create, { ...update, outcome: { told: 'not-done', ended: 3 } }, remove],
      /written by nobody/,
    ],
    [
      'a read of what was replaced',
      [create, update, remove, op('get', [3.5, 3.6], { told: 'seen', revision: 1 })],
      /cannot be after/,
    ],
    [
      'a read of what is not written yet',
      [create, update, remove, op('get', [1.5, 1.6], { told: 'seen', revision: 2 })],
      /cannot be after/,
    ],
    [
      'a refusal by what is gone',
      [create, update, remove, op('create', [6, 7], { told: 'seen', revision: 2 })],
      /cannot be after/,
    ],
    [
      'reads that go back',
      [
        create,
        update,
        remove,
        op('get', [2, 2.1], { told: 'seen', revision: 2 }),
        op('get', [2.2, 2.3], { told: 'seen', revision: 1 }),
      ],
      /cannot be after/,
    ],
    [
      'another value',
      [
        create,
        update,
        remove,
        {
          ...op('get', [1.5, 1.6], { told: 'seen', revision: 1 }),
          outcome: { told: 'seen', ended: 1.6, revision: 1, value: 'b' },
        },
      ],
      /cannot be after/,
    ],
    [
      'an event that does not follow',
      [create, { ...update, expected: 0 }, remove],
      /replaces revision 0; there was 1/,
      [event('create', 1, 0, 'a'), event('update', 2, 0, 'b'), event('delete', 3, 2, 'b')],
    ],
    [
      'a create of what is there',
      [create],
      /of a key that had revision 1/,
      [event('create', 1, 0, 'a'), event('create', 2, 1, 'b')],
    ],
  ];
  for (const [name, operations, complaint, events] of lies)
    it(`notices ${name}`, () => assert.match(complaints(operations, events).join('\n'), complaint));
});
