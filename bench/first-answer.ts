/** When something first answers: asked again and again, one request at a time, so that asking costs both sides the same. */
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface Asked {
  port: number;
  host: string;
  path: string;
  /** Tells the version that was pushed from the one before. */
  ready: (body: string) => boolean;
}

/** Resolves with the time, as of `performance.now()`, of the first answer 200 that is `ready`. */
export async function untilAnswer(asked: Asked, seconds = 120): Promise<number> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const body = await ask(asked);
    if (body !== undefined && asked.ready(body)) return performance.now();
    if (performance.now() > end) throw new Error(`${asked.host}${asked.path} did not answer in ${seconds} s`);
    await delay(20);
  }
}

function ask({ port, host, path }: Asked): Promise<string | undefined> {
  return new Promise((done) => {
    const call = request(
      { host: '127.0.0.1', port, path, headers: { host }, agent: false, timeout: 5000 },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (part: string) => (body += part));
        response.once('end', () => done(response.statusCode === 200 ? body : undefined));
        response.once('error', () => done(undefined));
      },
    );
    call.once('timeout', () => call.destroy());
    call.once('error', () => done(undefined));
    call.end();
  });
}
