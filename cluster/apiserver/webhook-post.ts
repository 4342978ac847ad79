/** One request to somebody's webhook, by its URL or its Service, over TLS that is verified. */
import https from 'node:https';
import { isIP } from 'node:net';
import { outsideTls } from '#lib/authorities.ts';
import type { WebhookClientConfig } from '../kinds/types/admissionregistration.ts';
import type { Core } from './core.ts';
import { servicePlace } from './workload-proxy.ts';

const RESPONSE_LIMIT = 3 * 1024 * 1024;
/** Connections are kept for the next object. */
const agent = new https.Agent({ keepAlive: true, maxSockets: 64, timeout: 60_000 });

/** Gives what it answers. @param timeout  in seconds */
export function postToWebhook(core: Core, client: WebhookClientConfig, body: Buffer, timeout: number): Promise<string> {
  return post(placeOf(core, client), body, timeout, `?timeout=${timeout}s`);
}

interface Place {
  /** To be shown. */
  url: URL;
  /** Where to connect, where that is not what the certificate is for. */
  host: string;
  port: number;
  ca: Buffer | undefined;
}

function placeOf(core: Core, { url, service, caBundle }: WebhookClientConfig): Place {
  const ca = caBundle === undefined ? undefined : Buffer.from(caBundle, 'base64');
  if (service === undefined) {
    const parsed = new URL(url ?? '');
    const host = parsed.hostname.replace(/^\[|\]$/g, '');
    return { url: parsed, host, port: Number(parsed.port) || 443, ca };
  }
  const { name, namespace, path = '/', port = 443 } = service;
  const place = servicePlace(core, namespace, { secure: true, name, port: String(port) });
  const shown = new URL(`https://${name}.${namespace}.svc:${port}`);
  shown.pathname = path;
  return { url: shown, host: place.host, port: place.port, ca };
}

function post({ url, host, port, ca }: Place, body: Buffer, timeout: number, query: string): Promise<string> {
  const failed = (error: Error) =>
    new Error(
      `failed to call webhook: Post "${url.href}${query}": ${error.name === 'TimeoutError' ? 'context deadline exceeded' : error.message}`,
      {
        cause: error,
      },
    );
  return new Promise((resolve, reject) => {
    const outgoing = https.request({
      host,
      port,
      path: `${url.pathname}${query}`,
      method: 'POST',
      ...(isIP(host) !== 0 && host === url.hostname.replace(/^\[|\]$/g, '') ? {} : { servername: url.hostname }),
      agent,
      ...(ca === undefined ? outsideTls() : { ca }),
      signal: AbortSignal.timeout(timeout * 1000),
      headers: {
        host: url.host,
        'content-type': 'application/json',
        accept: 'application/json',
        'content-length': body.length,
      },
    });
    const fail = (error: Error) => {
      reject(failed((error.cause as Error | undefined) ?? error));
    };
    outgoing.on('error', fail);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      let size = 0;
      incoming.on('error', fail);
      incoming.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > RESPONSE_LIMIT) outgoing.destroy(new Error(`the response has more than ${RESPONSE_LIMIT} bytes`));
        else chunks.push(chunk);
      });
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const { statusCode = 0 } = incoming;
        if (statusCode >= 200 && statusCode < 300) resolve(text);
        else
          reject(
            new Error(
              `an error on the server (${JSON.stringify(text.slice(0, 256))}) has prevented the request from succeeding`,
            ),
          );
      });
    });
    outgoing.end(body);
  });
}
