/**
 * An answer is held back until what was asked for is settled, so that a client that waits asks once and hears at once: for as long as
 * `Prefer: wait=SECONDS` says (RFC 7240, section 4.3), and a few seconds without it. Clients that say nothing ask again after a pause of
 * their own, which is three seconds with `cf`: what takes a moment is done at their first look.
 */
import type { ApiRequest } from './api.ts';

const LONGEST_SECONDS = 30;
const UNASKED_SECONDS = 3;

/** An informer, and whatever else tells when something has changed. */
export interface Changes {
  onChange(listener: () => void): () => void;
}

/** Resolves when `settled`, when the client's time is over, or when it went away. `settled` is asked after each change. */
export async function whenSettled(
  request: Pick<ApiRequest, 'headers' | 'signal'>,
  changes: Changes,
  settled: () => boolean,
): Promise<void> {
  const seconds = waitSeconds(request.headers['prefer']);
  if (seconds === 0 || request.signal.aborted || settled()) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = changes.onChange(() => {
    if (settled()) resolve();
  });
  const timer = setTimeout(resolve, seconds * 1000);
  const gone = (): void => resolve();
  request.signal.addEventListener('abort', gone, { once: true });
  try {
    await promise;
  } finally {
    stop();
    clearTimeout(timer);
    request.signal.removeEventListener('abort', gone);
  }
}

export function waitSeconds(header: string | string[] | undefined): number {
  const text = Array.isArray(header) ? header.join(',') : (header ?? '');
  const seconds = /(?:^|[,;\s])wait=(\d{1,4})(?=$|[,;\s])/i.exec(text)?.[1];
  return Math.min(LONGEST_SECONDS, Number(seconds ?? UNASKED_SECONDS));
}
