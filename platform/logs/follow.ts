/** `GET /api/v1/follow/{source_id}`: see `log-cache.ts`. */
import type { ServerResponse } from 'node:http';
import { EARLIEST, fromMilliseconds } from '../time.ts';
import type { LogEnvelope, Logs } from './logs.ts';
import { present } from './present.ts';

const KEEP_ALIVE = 20_000;
/** What a slow reader may leave unread; beyond it lines are dropped, counted, and told. */
const MOST_UNREAD = 4 * 1024 * 1024;
const BACKLOG = 1000;

export async function follow(
  logs: Logs,
  { sourceId, startTime }: { sourceId: string; startTime: string | undefined },
  response: ServerResponse,
): Promise<void> {
  let waiting: LogEnvelope[] | undefined = [];
  let last = EARLIEST;
  let dropped = 0;
  const say = (): void => {
    if (dropped === 0 || response.destroyed || response.writableLength > MOST_UNREAD) return;
    response.write(line(present(dropNotice(sourceId, dropped))));
    dropped = 0;
  };
  const write = (envelopes: LogEnvelope[]): void => {
    const fresh = envelopes.filter(({ timestamp }) => timestamp > last);
    if (fresh.length === 0 || response.destroyed) return;
    last = fresh.at(-1)?.timestamp ?? last;
    if (response.writableLength > MOST_UNREAD) {
      for (const { missing = 1 } of fresh) dropped += missing;
      return;
    }
    say();
    response.write(fresh.map((envelope) => line(present(envelope))).join(''));
  };
  const unsubscribe = logs.subscribe(sourceId, (envelopes) => {
    if (waiting === undefined) write(envelopes);
    else waiting.push(...envelopes);
  });
  // Perhaps nothing comes any more after what was dropped.
  response.on('drain', say);
  const keepAlive = setInterval(() => response.writableLength === 0 && response.write('\n'), KEEP_ALIVE);
  response.once('close', () => {
    unsubscribe();
    clearInterval(keepAlive);
  });
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  response.flushHeaders();
  if (startTime !== undefined) write(await logs.read({ sourceId, startTime, limit: BACKLOG }));
  const meanwhile = waiting;
  waiting = undefined;
  write(meanwhile);
}

function dropNotice(sourceId: string, dropped: number): LogEnvelope {
  return {
    timestamp: fromMilliseconds(Date.now()),
    sourceId,
    instanceId: '0',
    sourceType: 'LGR',
    type: 'ERR',
    payload: Buffer.from(`${dropped} lines were dropped here: they came faster than they were read`),
  };
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
