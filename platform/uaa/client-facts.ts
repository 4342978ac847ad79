/** What clients may be called, and where a login of theirs may lead. */

export const CLIENT_ID_EXPECTED = '1 to 255 printable ASCII characters without spaces and colons';

/** A browser that follows these runs what is in them. */
const SCRIPTS = new Set(['javascript:', 'data:', 'vbscript:', 'blob:', 'file:']);

export function isClientId(id: string): boolean {
  return /^[\x21-\x39\x3b-\x7e]{1,255}$/.test(id);
}

export function isRedirectUri(uri: string): boolean {
  return URL.canParse(uri) && !/[^\x21-\x7e]|#/.test(uri) && !SCRIPTS.has(new URL(uri).protocol);
}
