/** Of each kind (of fields see `kubernetes-fields.ts`): supported, and which test shows it; or accepted or refused, and why. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Support {
  state: 'supported' | 'accepted' | 'refused';
  /** Of what is supported. */
  test?: string;
  /** Of the others. */
  why?: string;
}

export interface SupportData {
  /** By `group/version/resource`. */
  kinds: Record<string, Support>;
  /** What is not served at all. */
  refused: { api: string; why: string }[];
}

export function readSupport(): SupportData {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'kubernetes-support.json'), 'utf8')) as SupportData;
}

export function kindTitle(kind: { group: string; version: string; resource: string }): string {
  return `${kind.group}/${kind.version}/${kind.resource}`;
}
