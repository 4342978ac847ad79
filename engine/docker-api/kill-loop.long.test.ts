/** `kill -9` of the engine, two hundred times, in the middle of everything that the Docker API does. */
import { test } from 'node:test';
import { killRounds } from '#testing/kill/rounds.ts';

const ROUNDS = Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 200);

test('two hundred kills lose nothing that was acknowledged and leave nothing that nobody knows', {
  timeout: 60_000 + ROUNDS * 15_000,
}, async () => {
  await killRounds({
    rounds: ROUNDS,
    seed: Number(process.env['SAMPAN_KILL_SEED'] ?? Date.now() % 2 ** 31),
    report: (line) => void process.stderr.write(`${line}\n`),
  });
});
