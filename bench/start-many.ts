/** Twenty containers at once, to all running. */
import { setTimeout as delay } from 'node:timers/promises';
import { dockerEngine, ourEngine, podmanEngine } from './containers.ts';
import { type Row, median } from './row.ts';

const many = 20;

export async function run(): Promise<Row[]> {
  const subjects = [await ourEngine(many), await dockerEngine(), await podmanEngine()];
  try {
    const rates = subjects.map(() => [] as number[]);
    for (let round = 0; round < 4; round++) {
      for (const [index, subject] of subjects.entries()) {
        await delay(2000);
        const begun = performance.now();
        const removals = await Promise.all(Array.from({ length: many }, () => subject.start()));
        if (round > 0) rates[index]?.push(many / ((performance.now() - begun) / 1000));
        await Promise.all(removals.map((remove) => remove()));
      }
    }
    const [ours = Number.NaN, ...peers] = rates.map(median);
    return peers.map((value, index) => ({
      what: `${many} starts at once, to all running`,
      unit: '/s',
      ours,
      peer: { name: subjects[index + 1]?.name ?? '', value },
      greater: true,
      goal: index === 0 ? 'at least 5 x dockerd' : '',
    }));
  } finally {
    for (const subject of subjects) await subject.close();
  }
}
