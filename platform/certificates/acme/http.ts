/** Requests to an ACME server: over TLS, bounded in time and size, through the proxy of the host where there is one. */
import { Agent, request } from 'node:https';
import { outsideTls } from '#lib/authorities.ts';
import { AcmeError } from './problem.ts';

export interface AcmeAnswer {
  status: number;
  headers: Record<string, string | undefined>;
  body: string;
}

export type AcmeHttp = (
  method: 'GET' | 'HEAD' | 'POST',
  url: string,
  options: { body?: string; signal: AbortSignal },
) => Promise<AcmeAnswer>;

const PATIENCE = 30_000;
const MOST = 1 << 20;
const USER_AGENT = 'sampan';

/** @param authorities  PEM, besides the well-known ones */
export function acmeHttp(authorities: string | undefined): AcmeHttp {
  const agent = new Agent({
    keepAlive: false,
    proxyEnv: process.env,
    ...outsideTls(authorities),
  });
  return (method, url, { body, signal }) =>
    new Promise((resolve, reject) => {
      const fail = (cause: unknown): void => {
        if (signal.aborted) reject(signal.reason);
        else reject(new AcmeError('unreachable', `${url} does not answer: ${(cause as Error).message}`, { cause }));
      };
      const sent = request(url, {
        method,
        agent,
        signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]),
        headers: {
          'user-agent': USER_AGENT,
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/jose+json', 'content-length': Buffer.byteLength(body) }),
        },
      });
      sent.once('error', fail);
      sent.once('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          text += part;
          if (text.length > MOST) response.destroy(new Error(`it says more than ${MOST} bytes`));
        });
        response.once('error', fail);
        response.once('end', () => {
          const headers = Object.entries(response.headers).map(([name, value]) => [name, value?.toString()]);
          resolve({ status: response.statusCode ?? 0, headers: Object.fromEntries(headers), body: text });
        });
      });
      sent.end(body);
    });
}
