/** Reads an app's log by Cloud Foundry's log-cache API; following is one stream that begins where the last line read ended. */
import { createInterface } from 'node:readline';
import type { Api } from './api.ts';

interface Envelope {
  timestamp: string;
  source_id: string;
  instance_id: string;
  tags: { source_type?: string; [tag: string]: string | undefined };
  log?: { payload: string; type: 'OUT' | 'ERR' };
}

export interface LogLine {
  timestamp: string;
  source: string;
  type: 'OUT' | 'ERR';
  text: string;
}

async function logCache(api: Api): Promise<string> {
  const root = await api.root();
  return root.links.log_cache?.href ?? api.target.api.replace('//api.', '//log-cache.');
}

/** The newest lines, oldest first. */
export async function recentLines(api: Api, appGuid: string, limit = 100): Promise<LogLine[]> {
  const url = `${await logCache(api)}/api/v1/read/${appGuid}?envelope_types=LOG&descending=true&limit=${limit}&start_time=-6795364578871345152`;
  const answer = await api.get<{ envelopes: { batch: Envelope[] } }>(url);
  return (answer.envelopes.batch ?? []).map(lineOf).reverse();
}

/** Lines after `start` (nanoseconds; default now), as they come, until the signal is aborted. */
export async function* followLines(
  api: Api,
  appGuid: string,
  options: { start?: string; signal: AbortSignal },
): AsyncGenerator<LogLine> {
  const url = `${await logCache(api)}/api/v1/follow/${appGuid}?start_time=${options.start ?? String(BigInt(Date.now()) * 1_000_000n)}`;
  try {
    const stream = await api.stream(url, options.signal);
    for await (const text of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (text) yield lineOf(JSON.parse(text) as Envelope);
    }
  } catch (error) {
    if (!options.signal.aborted) throw error;
  }
}

function lineOf(envelope: Envelope): LogLine {
  const source = envelope.tags.source_type ?? 'APP';
  return {
    timestamp: envelope.timestamp,
    source:
      /^(APP|STG|RTR|CELL|API|HEALTH)/.test(source) && source !== 'API'
        ? `${source}/${envelope.instance_id || '0'}`
        : source,
    type: envelope.log?.type ?? 'OUT',
    text: Buffer.from(envelope.log?.payload ?? '', 'base64')
      .toString('utf8')
      .replace(/\n$/, ''),
  };
}

/** As cf prints it: local time, source, stream, text. */
export function formatLine(line: LogLine): string {
  const nanoseconds = BigInt(line.timestamp);
  const at = new Date(Number(nanoseconds / 1_000_000n));
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, -1);
  const zone = -at.getTimezoneOffset();
  const offset = `${zone < 0 ? '-' : '+'}${String(Math.floor(Math.abs(zone) / 60)).padStart(2, '0')}${String(Math.abs(zone) % 60).padStart(2, '0')}`;
  return `   ${local.slice(0, 22)}${offset} [${line.source}] ${line.type} ${withoutControls(line.text)}`;
}

/** Colours pass (escape), and tabs; what else moves a cursor or rings does not. */
function withoutControls(text: string): string {
  return [...text].filter((character) => character >= ' ' || character === '\t' || character === '\u001b').join('');
}
