/** One container, created and started, image present, with a network; rounds of both sides interleaved. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Subject, dockerEngine, ourEngine } from './containers.ts';
import { type Row, median } from './row.ts';

export async function run(): Promise<Row[]> {
  const ours = await ourEngine(4);
  const theirs = await dockerEngine();
  try {
    const times = new Map<Subject, number[]>([
      [ours, []],
      [theirs, []],
    ]);
    for (let round = 0; round < 12; round++) {
      for (const [subject, list] of times) {
        await delay(200);
        const begun = performance.now();
        const remove = await subject.start();
        if (round > 1) list.push(performance.now() - begun);
        await remove();
      }
    }
    return [
      {
        what: "create and start with network (engine contract; Docker's HTTP API)",
        unit: 'ms',
        ours: median(times.get(ours) ?? []),
        peer: { name: theirs.name, value: median(times.get(theirs) ?? []) },
        goal: 'at most 0.25 x dockerd',
      },
    ];
  } finally {
    await ours.close();
    await theirs.close();
  }
}
