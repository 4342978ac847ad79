/**
 * What subresources are sent that is no part of their object. Webhooks and policies are asked about it as what it is, before anything
 * is made of it, and may change it.
 */
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import type { WriteOptions } from '../admit.ts';
import type { Core } from '../core.ts';
import { admissionOf } from '../create.ts';
import type { SentKind } from './plugin.ts';

const SENT = {
  binding: { group: '', version: 'v1', kind: 'Binding' },
  eviction: { group: 'policy', version: 'v1', kind: 'Eviction' },
  scale: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
  token: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' },
} satisfies Record<string, SentKind>;

export interface Sent {
  kind: KindDefinition;
  namespace: string;
  name: string;
  subresource: keyof typeof SENT;
  /** What it was, of what is no creation. */
  old?: ApiObject;
}

/** @returns it as it was left. Throws the refusal. */
export async function admitSent<T extends { metadata?: ApiObject['metadata'] }>(
  core: Core,
  { kind, namespace, name, subresource, old }: Sent,
  object: T,
  options: WriteOptions,
): Promise<T & ApiObject> {
  const sent = SENT[subresource];
  const whole = {
    ...object,
    apiVersion: sent.group === '' ? sent.version : `${sent.group}/${sent.version}`,
    kind: sent.kind,
    metadata: { ...object.metadata, name, ...(namespace !== '' && { namespace }) },
  } as T & ApiObject;
  const operation = old === undefined ? 'CREATE' : 'UPDATE';
  const request = admissionOf(kind, { namespace, name, operation, subresource }, options, whole, old);
  // Who changes it changes it in place.
  await core.admission.admitSent({ ...request, sent });
  return whole;
}
