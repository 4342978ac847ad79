/** `GET /containerLogs/…`: a container's log as plain lines, as the kubelet writes it. */
import type { ServerResponse } from 'node:http';
import { type Engine, EngineError, type LogGap, type LogLimit, type LogOptions } from '#engine/engine.ts';
import { drained } from '#lib/drained.ts';
import type { LogCount } from './agent.ts';
import type { NodeContext } from './context.ts';
import { EndpointError, logTarget } from './endpoint-target.ts';
import { gapText, logLimitOf } from './log-collector.ts';
import type { PodWorkers } from './pods.ts';

const batchBytes = 32 * 1024;

export interface LogRequest {
  path: string[];
  query: URLSearchParams;
  response: ServerResponse;
}

export async function serveLogs(
  { engine, logCounts }: Pick<NodeContext, 'engine' | 'logCounts'>,
  workers: PodWorkers,
  { path, query, response }: LogRequest,
): Promise<void> {
  const id = logTarget(workers, path.slice(1), flag(query, 'previous'));
  const worker = workers.find(path[1] ?? '', path[2] ?? '');
  const options = logOptions(query);
  if (worker !== undefined && flag(query, 'collect')) {
    // What is looked back at was counted when it came.
    const count = flag(query, 'previous') || query.has('untilTime') ? undefined : logCounts?.of(id);
    options.collect = { limit: logLimitOf(worker.pod), ...(count && { count }) };
  }
  if (!engine.container(id)) throw new EndpointError(404, `the log of container "${path[3]}" is not kept any more`);
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.flushHeaders();
  const abort = new AbortController();
  response.once('close', () => abort.abort());
  const readers = worker?.readers;
  const { promise: read, resolve: done } = Promise.withResolvers<void>();
  readers?.add(read);
  try {
    await copy(engine, id, { ...options.log, signal: abort.signal }, options, response);
    response.end();
  } catch (error) {
    if (abort.signal.aborted) return;
    // What was there was sent; a container that is removed while it is followed is the end of its log.
    if (error instanceof EngineError && error.code === 'not-found') response.end();
    else throw error;
  } finally {
    readers?.delete(read);
    done();
  }
}

interface OutputOptions {
  timestamps: boolean;
  limitBytes: number;
  /** See `log-collector.ts`. */
  collect?: { limit: LogLimit; count?: LogCount };
}

/** Lines that come together leave together; a reader that is slow is waited for. */
async function copy(
  engine: Engine,
  id: string,
  log: LogOptions,
  { timestamps, limitBytes, collect }: OutputOptions,
  response: ServerResponse,
): Promise<void> {
  let batch: Buffer[] = [];
  let size = 0;
  let sent = 0;
  let scheduled: NodeJS.Immediate | undefined;
  const flush = (): void => {
    clearImmediate(scheduled);
    scheduled = undefined;
    if (size === 0 || response.destroyed) return;
    let bytes = Buffer.concat(batch);
    if (sent + bytes.length > limitBytes) bytes = bytes.subarray(0, limitBytes - sent);
    sent += bytes.length;
    batch = [];
    size = 0;
    response.write(bytes);
  };
  const add = (head: string, line: Buffer): void => {
    if (head !== '') batch.push(Buffer.from(head));
    batch.push(line, newline);
    size += head.length + line.length + 1;
  };
  const onGap = (gap: LogGap): void => {
    if (collect?.count) collect.count.droppedLines += gap.lines;
    const text = collect && gapText(gap, collect.limit);
    if (text === undefined) return;
    add(`${gap.time} node ${gap.lines} `, Buffer.from(text));
    scheduled ??= setImmediate(flush);
  };
  try {
    const limited = collect === undefined ? log : { ...log, limit: collect.limit, onGap };
    for await (const { time, stream, line } of engine.logs(id, limited)) {
      add(collect ? `${time} ${stream} ` : timestamps ? `${time} ` : '', line);
      if (collect?.count) {
        collect.count.lines += 1;
        collect.count.bytes += line.length;
      }
      if (size >= batchBytes || sent + size >= limitBytes) flush();
      else scheduled ??= setImmediate(flush);
      if (sent >= limitBytes) return;
      await drained(response, log.signal);
    }
  } finally {
    flush();
  }
}

const newline = Buffer.from('\n');

function logOptions(query: URLSearchParams): OutputOptions & { log: LogOptions } {
  const tail = count(query, 'tailLines');
  const sinceSeconds = count(query, 'sinceSeconds');
  const sinceTime = query.get('sinceTime');
  const untilTime = query.get('untilTime');
  const since = sinceTime
    ? Date.parse(sinceTime)
    : sinceSeconds === undefined
      ? undefined
      : Date.now() - sinceSeconds * 1000;
  if (Number.isNaN(since)) throw new EndpointError(400, `sinceTime "${sinceTime}" is no time: write RFC 3339`);
  // The whole millisecond.
  const until = untilTime ? Date.parse(untilTime) + 1 : undefined;
  if (Number.isNaN(until)) throw new EndpointError(400, `untilTime "${untilTime}" is no time: write RFC 3339`);
  const stream = query.get('stream') ?? 'All';
  if (!['All', 'Stdout', 'Stderr'].includes(stream)) {
    throw new EndpointError(400, `stream "${stream}" must be All, Stdout or Stderr`);
  }
  return {
    timestamps: flag(query, 'timestamps'),
    limitBytes: count(query, 'limitBytes') ?? Number.POSITIVE_INFINITY,
    log: {
      follow: flag(query, 'follow'),
      ...(tail !== undefined && { tail }),
      ...(since !== undefined && { since }),
      ...(until !== undefined && { until }),
      stdout: stream !== 'Stderr',
      stderr: stream !== 'Stdout',
    },
  };
}

export function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== '0' && value !== 'false';
}

function count(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^\d+$/.test(text)) throw new EndpointError(400, `${name} "${text}" must be a whole number, 0 or more`);
  return Number(text);
}
