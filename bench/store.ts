/** Durable writes per second: each is on disk before it is acknowledged. `node bench/store.ts [writers] [seconds]` */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './row.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';

export interface StoreBenchResult {
  writesPerSecond: number;
  p50Milliseconds: number;
  p99Milliseconds: number;
}

/** `writers` clients, each with one write under way, values of `valueBytes`, on keys of their own. */
export async function benchStore(writers: number, seconds: number, valueBytes = 1024): Promise<StoreBenchResult> {
  const directory = await mkdtemp(join(tmpdir(), 'sampan-bench-store-'));
  const store = await openSqliteStore({ path: join(directory, 'store.db') });
  try {
    const value = new Uint8Array(valueBytes).fill(0x61);
    const latencies: number[] = [];
    const start = performance.now();
    const end = start + seconds * 1000;
    await Promise.all(
      Array.from({ length: writers }, async (_, writer) => {
        for (let index = 0; performance.now() < end; index++) {
          const began = performance.now();
          await store.create(`/registry/bench/${writer}/${index}`, value);
          latencies.push(performance.now() - began);
        }
      }),
    );
    const elapsed = (performance.now() - start) / 1000;
    latencies.sort((a, b) => a - b);
    const quantile = (q: number): number => latencies[Math.floor((latencies.length - 1) * q)] ?? 0;
    return {
      writesPerSecond: latencies.length / elapsed,
      p50Milliseconds: quantile(0.5),
      p99Milliseconds: quantile(0.99),
    };
  } finally {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  }
}

export async function run(): Promise<Row[]> {
  const result = await benchStore(64, 5);
  return [
    { what: 'durable writes, 64 writers, 1 KiB', unit: '/s', ours: result.writesPerSecond, goal: 'at least 5 x etcd' },
    { what: 'their p99', unit: 'ms', ours: result.p99Milliseconds, goal: "at most etcd's" },
  ];
}
