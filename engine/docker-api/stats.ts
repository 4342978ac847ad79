/**
 * `/containers/{id}/stats`: what a container uses, once or each second for as long as the client listens. A share of the cpu is the
 * difference of two samples, so a single answer takes a second too, unless `one-shot` asks for one sample.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { once } from 'node:events';
import { EngineError } from '../engine.ts';
import type { ContainerUsage } from '../verbs.ts';
import { type Call, findContainer, flag } from './call.ts';
import { containerName } from './container-view.ts';

const PERIOD_MILLISECONDS = 1000;

export async function containerStats(call: Call): Promise<void> {
  const { id } = findContainer(call, call.path['id'] ?? '');
  const stream = call.query.get('stream') === null || flag(call, 'stream');
  const { response } = call;
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const { signal } = gone;
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  const send = async (before: ContainerUsage | undefined, now: ContainerUsage | undefined): Promise<void> => {
    const container = call.engine.container(id);
    const name = container === undefined ? '' : `/${containerName(container)}`;
    const view = { ...statsView(call, before, now), name, id };
    if (!response.write(`${JSON.stringify(view)}\n`)) await once(response, 'drain', { signal });
  };
  try {
    let before: ContainerUsage | undefined;
    let now = await sample(call, id);
    if (!stream && !flag(call, 'one-shot') && now !== undefined) {
      await delay(PERIOD_MILLISECONDS, undefined, { signal });
      before = now;
      now = await sample(call, id);
    }
    await send(before, now);
    while (stream && call.engine.container(id) !== undefined) {
      // From the last sample on, so that a slow client does not make the periods longer.
      const rest = PERIOD_MILLISECONDS - (Date.now() - (now?.at ?? Date.now()));
      await delay(Math.max(rest, 0), undefined, { signal });
      before = now;
      now = await sample(call, id);
      await send(before, now);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  response.end();
}

/** Undefined where it does not run. */
async function sample(call: Call, id: string): Promise<ContainerUsage | undefined> {
  try {
    return await call.engine.usage(id);
  } catch (error) {
    if (error instanceof EngineError && (error.code === 'conflict' || error.code === 'not-found')) return undefined;
    throw error;
  }
}

function statsView(
  call: Call,
  before: ContainerUsage | undefined,
  now: ContainerUsage | undefined,
): Record<string, unknown> {
  const never = '0001-01-01T00:00:00Z';
  const moment = (usage: ContainerUsage | undefined): string =>
    usage === undefined ? never : new Date(usage.at).toISOString();
  const networks = Object.entries(now?.networks ?? {}).map(([name, network]) => [
    name,
    {
      rx_bytes: network.receivedBytes,
      rx_packets: network.receivedPackets,
      rx_errors: network.receivedErrors,
      rx_dropped: network.receivedDropped,
      tx_bytes: network.sentBytes,
      tx_packets: network.sentPackets,
      tx_errors: network.sentErrors,
      tx_dropped: network.sentDropped,
    },
  ]);
  return {
    read: moment(now),
    preread: moment(before),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuView(now),
    precpu_stats: cpuView(before),
    memory_stats: memoryView(call, now),
    pids_stats:
      now === undefined
        ? {}
        : {
            current: now.processes.current,
            ...(now.processes.limit === undefined ? {} : { limit: now.processes.limit }),
          },
    blkio_stats: blockView(now),
    networks: Object.fromEntries(networks),
  };
}

function cpuView(usage: ContainerUsage | undefined): Record<string, unknown> {
  const cpu = usage?.cpu;
  return {
    cpu_usage: {
      total_usage: cpu?.totalNanos ?? 0,
      usage_in_kernelmode: cpu?.kernelNanos ?? 0,
      usage_in_usermode: cpu?.userNanos ?? 0,
    },
    ...(cpu === undefined ? {} : { system_cpu_usage: cpu.hostNanos, online_cpus: cpu.onlineCpus }),
    throttling_data: {
      periods: cpu?.periods ?? 0,
      throttled_periods: cpu?.throttledPeriods ?? 0,
      throttled_time: cpu?.throttledNanos ?? 0,
    },
  };
}

/** Without a limit of its own a container has the machine's. */
function memoryView(call: Call, usage: ContainerUsage | undefined): Record<string, unknown> {
  if (usage === undefined) return {};
  const { bytes, peakBytes, limitBytes, failures, counters } = usage.memory;
  const isV1 = call.engine.info().cgroups === 'v1';
  return {
    usage: bytes,
    ...(isV1 && peakBytes !== undefined ? { max_usage: peakBytes, failcnt: failures } : {}),
    stats: counters,
    limit: limitBytes ?? call.engine.info().memoryBytes,
  };
}

function blockView(usage: ContainerUsage | undefined): Record<string, unknown> {
  const blocks = usage?.blocks ?? [];
  const entries = (pick: (block: (typeof blocks)[number]) => [number, number]): unknown[] =>
    blocks.flatMap((block) => {
      const [read, write] = pick(block);
      const { major, minor } = block;
      return [
        { major, minor, op: 'read', value: read },
        { major, minor, op: 'write', value: write },
      ];
    });
  return {
    io_service_bytes_recursive: entries(({ readBytes, writtenBytes }) => [readBytes, writtenBytes]),
    io_serviced_recursive: entries(({ reads, writes }) => [reads, writes]),
    io_queue_recursive: null,
    io_service_time_recursive: null,
    io_wait_time_recursive: null,
    io_merged_recursive: null,
    io_time_recursive: null,
    sectors_recursive: null,
  };
}
