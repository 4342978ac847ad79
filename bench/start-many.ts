/** Twenty containers at once, to all running. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Subject, dockerEngine, ourEngine } from './containers.ts';
import { type Row, median } from './row.ts';

const many = 20;

export async function run(): Promise<Row[]> {
  const ours = await ourEngine(many);
  const theirs = await dockerEngine();
  try {
    const rates = new Map<Subject, number[]>([
      [ours, []],
      [theirs, []],
    ]);
    for (let round = 0; round < 4; round++) {
      for (const [subject, list] of rates) {
        await delay(2000);
        const begun = performance.now();
        const removals = await Promise.all(Array.from({ length: many }, () => subject.start()));
        if (round > 0) list.push(many / ((performance.now() - begun) / 1000));
        await Promise.all(removals.map((remove) => remove()));
      }
    }
    return [
      {
        what: `${many} starts at once, to all running`,
        unit: '/s',
        ours: median(rates.get(ours) ?? []),
        peer: { name: theirs.name, value: median(rates.get(theirs) ?? []) },
        goal: 'at least 5 x dockerd',
      },
    ];
  } finally {
    await ours.close();
    await theirs.close();
  }
}
