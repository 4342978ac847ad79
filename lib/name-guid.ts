import { createHash } from 'node:crypto';

/** Of what is known by a name: the same guid for the same name (RFC 9562, version 5 in form). */
export function nameGuid(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
