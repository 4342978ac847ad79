import assert from 'node:assert/strict';
import { it } from 'node:test';
import { formatIndexes, parseIndexes } from './job-indexes.ts';

it('writes indexes as a job tells them, and reads them again', () => {
  const cases: [indexes: number[], text: string][] = [
    [[], ''],
    [[3], '3'],
    [[1, 0], '0,1'],
    [[0, 1, 2, 4, 6, 7, 9], '0-2,4,6,7,9'],
    [[10, 11, 12, 13], '10-13'],
  ];
  for (const [indexes, text] of cases) {
    assert.equal(formatIndexes(indexes), text);
    assert.deepEqual(
      [...parseIndexes(text, 100)],
      indexes.toSorted((a, b) => a - b),
    );
  }
  assert.deepEqual([...parseIndexes('0-3,7', 2)], [0, 1], 'those below the limit');
  assert.deepEqual([...parseIndexes('x,-1,2', 100)], [2], 'what is no range is left out');
  assert.equal(parseIndexes('0-99999999999', 5).size, 5);
});
