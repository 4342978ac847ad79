/** A few rounds of what `kill-loop.long.test.ts` does two hundred times. */
import { test } from 'node:test';
import { killRounds } from '#testing/kill/rounds.ts';

test('an engine that is killed at any moment keeps what it acknowledged and leaves nothing else', {
  timeout: 120_000,
}, async (context) => {
  await killRounds({
    rounds: Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 10),
    seed: Number(process.env['SAMPAN_KILL_SEED'] ?? Date.now() % 2 ** 31),
    report: (line) => context.diagnostic(line),
  });
});
