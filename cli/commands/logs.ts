import { type SpaceContext, requireApp } from '../context.ts';
import { followLines, formatLine, recentLines } from '../logs.ts';
import { print, printJson } from '../output.ts';

/** Prints the recent lines, or the recent ones and then what comes, until interrupted: one cursor, no gap and no line twice. */
export async function logs(
  context: SpaceContext,
  name: string,
  options: { recent?: boolean; json?: boolean },
): Promise<void> {
  const app = await requireApp(context, name);
  const show = (line: Parameters<typeof formatLine>[0]): void =>
    options.json ? printJson(line) : print(formatLine(line));
  const lines = await recentLines(context.api, app.guid, options.recent ? 1000 : 10);
  for (const line of lines) show(line);
  if (options.recent) return;
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const last = lines.at(-1)?.timestamp;
  const start = last === undefined ? undefined : String(BigInt(last) + 1n);
  for await (const line of followLines(context.api, app.guid, { signal: stop.signal, ...(start ? { start } : {}) }))
    show(line);
}
