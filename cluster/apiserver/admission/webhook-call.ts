/** One call of a webhook: an AdmissionReview over HTTPS, and the answer (Kubernetes "Webhook request and response"). */
import { randomUUID } from 'node:crypto';
import type { ApiObject } from '../../kinds/kind.ts';
import type { MutatingWebhook } from '../../kinds/types/admissionregistration.ts';
import type { Status } from '../../kinds/types/meta.ts';
import type { Core } from '../core.ts';
import { postToWebhook } from '../webhook-post.ts';

export interface ReviewResponse {
  uid: string;
  allowed: boolean;
  status?: Partial<Status>;
  patch?: string;
  patchType?: string;
  warnings?: string[];
  auditAnnotations?: Record<string, string>;
}

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
  const text = await postToWebhook(core, webhook.clientConfig, body, timeout);
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
