import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BuildResult } from '../lifecycle/protocol.ts';
import { withRuntimes } from './with-runtimes.ts';

/** Runs rounds of a build that asks for these names one after the other, given what is mounted. */
async function rounds(last: string[], asked: (mounted: string[]) => string[]) {
  const runs: string[][] = [];
  const cleared: number[] = [];
  const { runtimes } = await withRuntimes({
    last,
    provide: async (names) =>
      names.map((name) => {
        if (name === 'gone') throw new Error('it is not offered');
        return { name, packages: { launch: {}, build: {} } };
      }),
    async run(mounted) {
      const names = mounted.map(({ name }) => name);
      runs.push(names);
      return { runtimes: asked(names) } as BuildResult;
    },
    async clear() {
      cleared.push(runs.length);
    },
  });
  return { runs, cleared, runtimes: runtimes.map(({ name }) => name) };
}

test('a build is run again with what it asks for, and gets of it what it names at the end', async () => {
  assert.deepEqual(await rounds([], (mounted) => (mounted.includes('a') ? ['a', 'b'] : ['a'])), {
    runs: [[], ['a'], ['a', 'b']],
    cleared: [1, 2],
    runtimes: ['a', 'b'],
  });
  assert.deepEqual(await rounds(['a', 'b'], () => ['b']), { runs: [['a', 'b']], cleared: [], runtimes: ['b'] });
  assert.deepEqual(await rounds(['gone'], () => []), { runs: [[]], cleared: [], runtimes: [] });
});

test('a build that never has enough is refused', async () => {
  let count = 0;
  const more = () => [`r${(count += 1)}`];
  await assert.rejects(rounds([], more), { code: 'build-failed', message: /asked for other runtimes 5 times/ });
});

test('what is not offered is an error of the build', async () => {
  await assert.rejects(
    rounds([], () => ['gone']),
    /not offered/,
  );
});
