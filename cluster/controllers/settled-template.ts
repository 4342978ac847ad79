/** A template as the API keeps it now: one that was kept before may hold what says nothing, and is no other template for that. */
import { cloneJson } from '#lib/clone-json.ts';
import { decodeObject } from '../kinds/decode.ts';
import { definitions } from '../kinds/schema.ts';
import type { PodTemplateSpec } from '../kinds/types/core.ts';

const SCHEMA = 'io.k8s.api.core.v1.PodTemplateSpec';
/** Of objects of informers, which nobody changes. */
const known = new WeakMap<PodTemplateSpec, PodTemplateSpec>();

export function settledTemplate(template: PodTemplateSpec): PodTemplateSpec {
  let settled = known.get(template);
  if (settled === undefined) {
    settled = cloneJson(template);
    decodeObject(settled as Record<string, unknown>, definitions()[SCHEMA] ?? {}, { dropsEmpty: true });
    known.set(template, settled);
  }
  return settled;
}
