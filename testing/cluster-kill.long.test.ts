/** `kill -9` of every process of a cluster, a hundred times, while its workloads are churned. */
import { test } from 'node:test';
import { clusterKillRounds } from './cluster-kill/rounds.ts';

const ROUNDS = Number(process.env['SAMPAN_KILL_ROUNDS'] ?? 100);

test('a hundred kills lose nothing that was acknowledged, and leave nothing that nobody wants', {
  timeout: 600_000 + ROUNDS * 60_000,
}, async () => {
  await clusterKillRounds({
    rounds: ROUNDS,
    peaceEvery: 5,
    seed: Number(process.env['SAMPAN_KILL_SEED'] ?? Date.now() % 2 ** 31),
    report: (line) => void process.stderr.write(`${line}\n`),
  });
});
