/** A few rounds of what `cluster-kill.long.test.ts` does a hundred times. */
import { test } from 'node:test';
import { clusterKillRounds } from './cluster-kill/rounds.ts';

test('a cluster whose processes are killed comes to what its clients were told, and leaves nothing else', {
  timeout: 540_000,
}, async (context) => {
  const rounds = Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 3);
  await clusterKillRounds({
    rounds,
    peaceEvery: rounds,
    seed: Number(process.env['SAMPAN_KILL_SEED'] ?? Date.now() % 2 ** 31),
    report: (line) => context.diagnostic(line),
  });
});
