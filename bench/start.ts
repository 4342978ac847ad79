/** One container, created and started, image present; rounds of all sides interleaved. */
import { setTimeout as delay } from 'node:timers/promises';
import { bareRunc, dockerEngine, ourEngine, podmanEngine } from './containers.ts';
import { type Row, median } from './row.ts';

const goals: Record<string, string> = {
  dockerd: 'at most 0.25 x dockerd',
  podman: '',
  bare: 'at most 2 x bare runc',
};

export async function run(): Promise<Row[]> {
  const subjects = [await ourEngine(4), await dockerEngine(), await podmanEngine(), await bareRunc()];
  try {
    const times = subjects.map(() => [] as number[]);
    for (let round = 0; round < 12; round++) {
      for (const [index, subject] of subjects.entries()) {
        await delay(200);
        const begun = performance.now();
        const remove = await subject.start();
        if (round > 1) times[index]?.push(performance.now() - begun);
        await remove();
      }
    }
    const [ours = Number.NaN, ...peers] = times.map(median);
    return peers.map((value, index) => {
      const name = subjects[index + 1]?.name ?? '';
      return {
        what: "create and start with network, over Docker's HTTP API",
        unit: 'ms',
        ours,
        peer: { name, value },
        goal: goals[name.split(' ')[0] ?? ''] ?? '',
      };
    });
  } finally {
    for (const subject of subjects) await subject.close();
  }
}
