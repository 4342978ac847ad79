/** Follows a build's output from its first line to the result line, over broken connections. */
import type { Client } from '#cluster/client/client.ts';
import { ApiError } from '#cluster/client/client.ts';
import { linesOf } from '#lib/lines.ts';
import { RESULT_LINE } from '../lifecycle/protocol.ts';
import { BUILD_CONTAINER } from './build-pod.ts';

const LONGEST_LINE = 16 * 1024;

export interface FollowOptions {
  client: Client;
  pod: { name: string; namespace: string };
  onLine: (line: string) => void;
  signal: AbortSignal;
}

/** The end of a build: its result line came, with the result where it was short, or the output ended without it. */
export type BuildEnd = { finished: true; said?: string } | { finished: false };

export async function followBuild(options: FollowOptions): Promise<BuildEnd> {
  let last = '';
  for (let attempt = 0; ; attempt += 1) {
    try {
      const stream = await options.client.podLog(options.pod, {
        container: BUILD_CONTAINER,
        follow: true,
        timestamps: true,
        ...(last === '' ? {} : { sinceTime: last }),
        signal: options.signal,
      });
      for await (const line of linesOf(stream, LONGEST_LINE)) {
        const space = line.indexOf(' ');
        const time = line.slice(0, space);
        // A stream that is opened anew begins with lines that were read already.
        if (last !== '' && attempt > 0 && time <= last) continue;
        last = time;
        const text = line.slice(space + 1);
        if (text === RESULT_LINE) return { finished: true };
        if (text.startsWith(`${RESULT_LINE} `)) return { finished: true, said: text.slice(RESULT_LINE.length + 1) };
        options.onLine(text);
      }
      return { finished: false };
    } catch (error) {
      options.signal.throwIfAborted();
      if (attempt >= 5 || (error instanceof ApiError && error.code >= 400 && error.code < 500)) throw error;
    }
  }
}
