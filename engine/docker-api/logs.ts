/**
 * `/containers/{id}/logs`. Without a terminal the two streams share the connection in frames: the stream's number, three
 * zero bytes, the length as 32 bits, and that many bytes (Engine API, "Stream format").
 */
import { once } from 'node:events';
import type { Container, LogOptions, LogRecord } from '../engine.ts';
import { type Call, findContainer, flag } from './call.ts';
import { DockerError } from './errors.ts';
import { settingsOf, visibleLabels } from './settings.ts';

export async function containerLogs(call: Call): Promise<void> {
  const container = findContainer(call, call.path['id'] ?? '');
  const tty = container.spec.tty === true;
  if (container.spec.log?.none === true)
    throw new DockerError(501, 'configured logging driver does not support reading');
  const options = logOptions(call);
  const timestamps = flag(call, 'timestamps');
  const details = flag(call, 'details') ? Buffer.from(`${logDetails(container)} `) : undefined;
  const { response } = call;
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const type =
    tty || call.minor < 42 ? 'application/vnd.docker.raw-stream' : 'application/vnd.docker.multiplexed-stream';
  response.writeHead(200, { 'content-type': type });
  // A client that follows wants to know that it does, though nothing was logged yet.
  response.flushHeaders();
  try {
    for await (const record of call.engine.logs(container.id, { ...options, signal: gone.signal })) {
      const line = Buffer.concat([
        ...(timestamps ? [Buffer.from(`${utc(record.time)} `)] : []),
        ...(details === undefined ? [] : [details]),
        record.line,
      ]);
      if (!response.write(tty ? Buffer.concat([line, NEWLINE]) : frame(record.stream, line))) {
        await once(response, 'drain', { signal: gone.signal });
      }
    }
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  }
  response.end();
}

/** The labels and variables that `--log-opt labels=… env=…` name, as `key=value,…`. */
function logDetails(container: Container): string {
  const { options = {} } = settingsOf(container)?.log ?? {};
  const labels = visibleLabels(container);
  const variables = Object.fromEntries(
    (container.spec.env ?? []).map((entry) => [
      entry.slice(0, entry.indexOf('=')),
      entry.slice(entry.indexOf('=') + 1),
    ]),
  );
  const pick = (names: string | undefined, values: Record<string, string>): [string, string][] =>
    (names ?? '').split(',').flatMap((name): [string, string][] => {
      const value = Object.hasOwn(values, name) ? values[name] : undefined;
      return value === undefined ? [] : [[name, value]];
    });
  return [...pick(options['labels'], labels), ...pick(options['env'], variables)]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join(',');
}

const NEWLINE = Buffer.from('\n');

export function frame(stream: LogRecord['stream'], line: Buffer): Buffer {
  const bytes = Buffer.alloc(8 + line.length + 1);
  bytes[0] = stream === 'stdout' ? 1 : 2;
  bytes.writeUInt32BE(line.length + 1, 4);
  line.copy(bytes, 8);
  bytes[bytes.length - 1] = 0x0a;
  return bytes;
}

function logOptions(call: Call): LogOptions {
  const stdout = flag(call, 'stdout');
  const stderr = flag(call, 'stderr');
  if (!stdout && !stderr) throw new DockerError(400, 'Bad parameters: you must choose at least one stream');
  const options: LogOptions = { stdout, stderr, follow: flag(call, 'follow') };
  const tail = call.query.get('tail') ?? 'all';
  // As Docker does: what is no number means all.
  if (/^\d{1,9}$/.test(tail)) options.tail = Number(tail);
  const since = timestamp(call, 'since');
  const until = timestamp(call, 'until');
  if (since !== undefined) options.since = since;
  if (until !== undefined) options.until = until;
  return options;
}

/** Seconds since the epoch with up to nine decimals; 0 and nothing mean no limit. */
function timestamp(call: Call, name: string): number | undefined {
  const text = call.query.get(name) ?? '';
  if (text === '' || text === '0') return undefined;
  if (!/^\d{1,12}(\.\d{1,9})?$/.test(text)) {
    throw new DockerError(400, `${name}=${JSON.stringify(text)} is no time in seconds since the epoch`);
  }
  // As the time of a line is read: the same moment has to be the same number.
  const [seconds = '', fraction = ''] = text.split('.');
  const digits = fraction.padEnd(9, '0');
  return Number(seconds) * 1000 + Number(digits.slice(0, 3)) + Number(`0.${digits.slice(3)}`);
}

/** The same moment with `Z`, its nanoseconds kept. */
function utc(time: string): string {
  const match = /^(.*?)(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(time);
  if (match === null || match[3] === 'Z') return time;
  const whole = new Date(`${match[1]}${match[3]}`);
  return `${whole.toISOString().slice(0, 19)}${match[2] ?? ''}Z`;
}
