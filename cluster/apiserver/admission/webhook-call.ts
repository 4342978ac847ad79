/** One call of a webhook: an AdmissionReview over HTTPS, and the answer (Kubernetes "Webhook request and response"). */
import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { isIP } from 'node:net';
import type { ApiObject } from '../../kinds/kind.ts';
import type { MutatingWebhook, WebhookClientConfig } from '../../kinds/types/admissionregistration.ts';
import type { Status } from '../../kinds/types/meta.ts';
import type { Core } from '../core.ts';
import { servicePlace } from '../workload-proxy.ts';

export interface ReviewResponse {
  uid: string;
  allowed: boolean;
  status?: Partial<Status>;
  patch?: string;
  patchType?: string;
  warnings?: string[];
  auditAnnotations?: Record<string, string>;
}

const RESPONSE_LIMIT = 3 * 1024 * 1024;
/** Connections are kept for the next object. */
const agent = new https.Agent({ keepAlive: true, maxSockets: 64, timeout: 60_000 });

/** Throws when it cannot be reached in time or answers with something else than a review. */
export async function callWebhook(
  core: Core,
  webhook: MutatingWebhook,
  request: Record<string, unknown> & { object: ApiObject | null },
): Promise<ReviewResponse> {
  const version = webhook.admissionReviewVersions.find((one) => one === 'v1' || one === 'v1beta1') ?? 'v1';
  const apiVersion = `admission.k8s.io/${version}`;
  const uid = randomUUID();
  const body = Buffer.from(JSON.stringify({ kind: 'AdmissionReview', apiVersion, request: { uid, ...request } }));
  const timeout = webhook.timeoutSeconds ?? 10;
  const text = await post(placeOf(core, webhook.clientConfig), body, timeout, `?timeout=${timeout}s`);
  const review = JSON.parse(text) as { kind?: string; apiVersion?: string; response?: ReviewResponse };
  const { response } = review;
  if (response === undefined || response === null) throw new Error('webhook response was absent');
  if (version === 'v1') {
    if (review.kind !== 'AdmissionReview' || review.apiVersion !== apiVersion)
      throw new Error(
        `expected webhook response of ${apiVersion}, Kind=AdmissionReview, got ${review.apiVersion}, Kind=${review.kind}`,
      );
    if (response.uid !== uid)
      throw new Error(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid)}`);
    if (response.patch !== undefined && response.patchType !== 'JSONPatch')
      throw new Error(
        response.patchType === undefined
          ? 'webhook returned response.patch but not response.patchType'
          : `webhook returned invalid response.patchType of ${JSON.stringify(response.patchType)}`,
      );
  }
  return response;
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
      ...(ca === undefined ? {} : { ca }),
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
