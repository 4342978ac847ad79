/** Durable writes per second: each is on disk before it is acknowledged. Ours on SQLite beside etcd 3.4, one member, by our driver of it. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEtcdStore } from '#cluster/store/etcd/open.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import type { Store } from '#cluster/store/store.ts';
import { installDebianPackages } from '#lib/debian-packages.ts';
import { startEtcd } from '#testing/etcd.ts';
import { median, percentile, type Row } from './row.ts';

const WRITERS = 64;
const SECONDS = 5;
const ROUNDS = 3;
const VALUE = new Uint8Array(1024).fill(0x61);

interface Measured {
  writesPerSecond: number;
  p99Milliseconds: number;
}

let measured = 0;

/** Clients with one write each under way, on keys of their own. */
async function measure(store: Store): Promise<Measured> {
  const run = measured++;
  const latencies: number[] = [];
  const start = performance.now();
  const end = start + SECONDS * 1000;
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      for (let index = 0; performance.now() < end; index++) {
        const began = performance.now();
        await store.create(`/registry/bench/${run}/${writer}/${index}`, VALUE);
        latencies.push(performance.now() - began);
      }
    }),
  );
  const elapsed = (performance.now() - start) / 1000;
  return { writesPerSecond: latencies.length / elapsed, p99Milliseconds: percentile(latencies, 0.99) };
}

export async function run(): Promise<Row[]> {
  if (!existsSync('/usr/bin/etcd')) installDebianPackages(['etcd-server']);
  const directory = await mkdtemp(join(tmpdir(), 'sampan-bench-store-'));
  const etcd = await startEtcd();
  const ours = await openSqliteStore({ path: join(directory, 'store.db') });
  const theirs = await openEtcdStore({ endpoints: etcd.endpoints, prefix: '/bench' });
  try {
    const [sqlite, peer]: [Measured[], Measured[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      sqlite.push(await measure(ours));
      peer.push(await measure(theirs));
    }
    const row = (what: string, unit: string, key: keyof Measured, goal: string): Row => ({
      what,
      unit,
      ours: median(sqlite.map((one) => one[key])),
      peer: { name: 'etcd 3.4', value: median(peer.map((one) => one[key])) },
      greater: key === 'writesPerSecond',
      goal,
    });
    return [
      row(`durable writes, ${WRITERS} writers, 1 KiB, by the driver`, '/s', 'writesPerSecond', 'at least 5 x'),
      row('their p99', 'ms', 'p99Milliseconds', 'at most 1 x'),
    ];
  } finally {
    await theirs.close();
    await ours.close();
    await etcd.stop();
    await rm(directory, { recursive: true, force: true });
  }
}
