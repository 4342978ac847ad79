/**
 * Admission webhooks (Kubernetes "Dynamic Admission Control"). Those that change an object are asked one after the other, in
 * the order of their configurations' names, and those that ask for it a second time when others changed it after them; those
 * that only judge are asked at once.
 */
import { isDeepStrictEqual } from 'node:util';
import { withinLimit } from '../../cel/cel.ts';
import { decodeObject } from '../../kinds/decode.ts';
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import { mutatingWebhookConfigurations, validatingWebhookConfigurations } from '../../kinds/resources.ts';
import type { Schema } from '../../kinds/schema.ts';
import { prune } from '../../kinds/structural.ts';
import type { MutatingWebhook } from '../../kinds/types/admissionregistration.ts';
import { keptAs } from '../conversion.ts';
import type { Core } from '../core.ts';
import { forbidden, StatusError } from '../errors.ts';
import { applyJsonPatch } from '../json-patch.ts';
import { settleGeneration } from '../written-part.ts';
import { all } from './lookup.ts';
import {
  conditionsHold,
  matchRequest,
  requestVariables,
  reviewedObjects,
  reviewedRequest,
  reviewedSchema,
} from './match-request.ts';
import type { AdmissionPlugin, AdmissionRequest } from './plugin.ts';
import { callWebhook, type ReviewResponse } from './webhook-call.ts';

interface Configured {
  webhook: MutatingWebhook;
  configuration: string;
  type: 'admit' | 'validating';
}

export function mutatingWebhooks(core: Core): AdmissionPlugin {
  /** The object as each left it, of requests under way. */
  const left = new WeakMap<AdmissionRequest, Map<Configured, ApiObject>>();
  const mutate = async (request: AdmissionRequest, webhooks: Configured[]): Promise<boolean> => {
    const before = left.get(request);
    const now = new Map<Configured, ApiObject>();
    let changed = false;
    for (const one of webhooks) {
      const seen = previous(before, one);
      if (before !== undefined && one.webhook.reinvocationPolicy !== 'IfNeeded') continue;
      if (seen !== undefined && isDeepStrictEqual(seen, request.object)) continue;
      const kind = await matches(core, request, one);
      if (kind === undefined) continue;
      const response = await ask(core, request, one, kind);
      if (response?.patch !== undefined && isWrite(request))
        changed = (await patched(core, request, { webhook: one.webhook, kind, patch: response.patch })) || changed;
      now.set(one, structuredClone(request.object));
    }
    left.set(request, now);
    return changed;
  };
  const plugin = (request: AdmissionRequest) => {
    if (request.user === undefined) return;
    const webhooks = configured(core, 'admit');
    return webhooks.length === 0 ? undefined : mutate(request, webhooks);
  };
  return {
    name: 'MutatingAdmissionWebhook',
    judgesAll: true,
    mutate: plugin,
    // A delete or a connection has nothing to change, but they may refuse it.
    validate: async (request) => {
      if (!isWrite(request)) await plugin(request);
    },
  };
}

function isWrite({ operation }: AdmissionRequest): boolean {
  return operation === 'CREATE' || operation === 'UPDATE';
}

function previous(before: Map<Configured, ApiObject> | undefined, { configuration, webhook }: Configured) {
  for (const [one, object] of before ?? [])
    if (one.configuration === configuration && one.webhook.name === webhook.name) return object;
  return undefined;
}

export function validatingWebhooks(core: Core): AdmissionPlugin {
  return {
    name: 'ValidatingAdmissionWebhook',
    judgesAll: true,
    validate: (request) => {
      if (request.user === undefined) return;
      const webhooks = configured(core, 'validating');
      if (webhooks.length === 0) return;
      const judged = webhooks.map(async (one) => {
        const kind = await matches(core, request, one);
        if (kind !== undefined) await ask(core, request, one, kind);
      });
      return settled(judged);
    },
  };
}

/** All of them have answered before the first refusal is told. */
async function settled(asked: Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(asked)) if (outcome.status === 'rejected') throw outcome.reason;
}

function configured(core: Core, type: Configured['type']): Configured[] {
  const ref = type === 'admit' ? mutatingWebhookConfigurations : validatingWebhookConfigurations;
  return all(core, ref).flatMap(({ metadata, webhooks }) =>
    (webhooks ?? []).map((webhook) => ({ webhook, configuration: metadata.name ?? '', type })),
  );
}

async function matches(core: Core, request: AdmissionRequest, one: Configured): Promise<KindDefinition | undefined> {
  const { webhook } = one;
  const kind = matchRequest(core, request, { ...webhook, rules: webhook.rules ?? [] });
  if (kind === undefined || (webhook.matchConditions ?? []).length === 0) return kind;
  try {
    const variables = await requestVariables(core, request, kind);
    return withinLimit(() => conditionsHold(webhook.matchConditions, variables)) ? kind : undefined;
  } catch (error) {
    if (webhook.failurePolicy === 'Ignore') return undefined;
    throw forbidden(
      request.kind,
      request.name,
      `${(error as Error).message} while evaluating the match conditions of webhook ${JSON.stringify(webhook.name)}`,
    );
  }
}

/** Undefined when it could not be asked, and that is no matter. Throws its refusal. */
async function ask(
  core: Core,
  request: AdmissionRequest,
  { webhook, type }: Configured,
  kind: KindDefinition,
): Promise<ReviewResponse | undefined> {
  const labels = { name: webhook.name, type, operation: request.operation };
  let response: ReviewResponse;
  const begun = performance.now();
  try {
    response = await callWebhook(core, webhook, {
      ...reviewedRequest(request, kind),
      ...(await reviewedObjects(core, request, kind)),
    });
  } catch (error) {
    const text = `failed calling webhook ${JSON.stringify(webhook.name)}: ${(error as Error).message}`;
    core.log('warn', 'a webhook could not be called', { webhook: webhook.name, error: text });
    if (webhook.failurePolicy === 'Ignore') {
      core.metrics.count('apiserver_admission_webhook_fail_open_count', { name: webhook.name, type });
      request.annotate(
        `failed-open.${type === 'admit' ? 'mutation' : 'validation'}.webhook.admission.k8s.io/${webhook.name}`,
        webhook.name,
      );
      return undefined;
    }
    core.metrics.count('apiserver_admission_webhook_rejection_count', {
      ...labels,
      error_type: 'calling_webhook_error',
    });
    throw new StatusError(500, 'InternalError', `Internal error occurred: ${text}`, { causes: [{ message: text }] });
  } finally {
    core.metrics.time(
      'apiserver_admission_webhook_admission_duration_seconds',
      labels,
      (performance.now() - begun) / 1000,
    );
  }
  for (const [key, value] of Object.entries(response.auditAnnotations ?? {}))
    request.annotate(`${webhook.name}/${key}`, value);
  for (const text of response.warnings ?? []) request.warn(text);
  if (response.allowed) return response;
  core.metrics.count('apiserver_admission_webhook_rejection_count', { ...labels, error_type: 'no_error' });
  throw refusal(webhook.name, response);
}

function refusal(name: string, { status }: ReviewResponse): StatusError {
  const denied = `admission webhook ${JSON.stringify(name)} denied the request`;
  const said = status?.message || status?.reason;
  const code = status?.code === undefined || status.code < 400 || status.code > 599 ? 400 : status.code;
  return new StatusError(
    code,
    status?.reason ?? '',
    said ? `${denied}: ${said}` : `${denied} without explanation`,
    status?.details,
  );
}

/** Changes the object in place, for whoever holds it. Tells whether it is another now. */
async function patched(
  core: Core,
  request: AdmissionRequest,
  { webhook, kind, patch }: { webhook: MutatingWebhook; kind: KindDefinition; patch: string },
): Promise<boolean> {
  let shown = structuredClone((await reviewedObjects(core, request, kind)).object) as ApiObject;
  const fail = (why: string) =>
    new StatusError(
      500,
      'InternalError',
      `Internal error occurred: admission webhook ${JSON.stringify(webhook.name)}: ${why}`,
    );
  try {
    const operations: unknown = JSON.parse(Buffer.from(patch, 'base64').toString());
    if (!Array.isArray(operations)) throw new Error('it is no array of operations');
    shown = applyJsonPatch(shown, operations) as ApiObject;
  } catch (error) {
    throw fail(`its patch does not apply: ${(error as Error).message}`);
  }
  if (typeof shown?.metadata !== 'object' || shown.metadata === null) throw fail('its patch removed the metadata');
  const { object } = request;
  const before = structuredClone(object);
  const { sent } = request;
  if (sent !== undefined || kind.schema === undefined) {
    const { wrongTypes } = decodeObject(shown, reviewedSchema(request, kind) ?? {});
    if (wrongTypes.length > 0) throw fail(wrongTypes.join('; '));
  } else prune(shown, kind.schema as Schema);
  const now = sent === undefined ? await keptAs(core, kind, request.kind, shown) : shown;
  const { name, namespace, uid, creationTimestamp } = before.metadata;
  for (const key of Object.keys(object)) delete object[key];
  Object.assign(object, now, {
    apiVersion: before.apiVersion,
    kind: before.kind,
    metadata: { ...now.metadata, ...JSON.parse(JSON.stringify({ name, namespace, uid, creationTimestamp })) },
  });
  if (sent === undefined) request.kind.defaults?.(object);
  if (request.old !== undefined && request.subresource === '') settleGeneration(request.kind, object, request.old);
  return !isDeepStrictEqual(before, object);
}
