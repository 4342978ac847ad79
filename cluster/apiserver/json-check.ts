/** What `JSON.parse` does not tell: how deep a text is nested, and which keys it has twice. One pass over the bytes. */
import { badRequest, type StatusError } from './errors.ts';

/** No object of the API comes near it; walking deeper ones would exhaust the stack. */
const DEPTH_LIMIT = 500;

const [QUOTE, BACKSLASH, COLON, OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [34, 92, 58, 123, 125, 91, 93];

function tooDeep(): StatusError {
  return badRequest(`the request body is nested more than ${DEPTH_LIMIT} levels deep: the limit is ${DEPTH_LIMIT}`);
}

/** Throws 400 for a value that is nested too deeply, as JSON within another encoding may be. */
export function checkDepth(value: unknown): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH_LIMIT) throw tooDeep();
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []));
  }
}

/** Throws 400 for a text that is nested too deeply. Returns how many keys it has. */
export function countKeys(bytes: Uint8Array): number {
  let [keys, depth, inString] = [0, 0, false];
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === COLON) keys++;
    else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > DEPTH_LIMIT) throw tooDeep();
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth--;
  }
  return keys;
}

export function keysOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let keys = 0;
  if (Array.isArray(value)) for (const item of value) keys += keysOf(item);
  else
    for (const inner of Object.values(value)) {
      keys++;
      if (typeof inner === 'object') keys += keysOf(inner);
    }
  return keys;
}

/** Paths of keys that stand twice in one object of a valid JSON text: `spec.containers[0].image`. */
export function duplicateKeys(text: string): string[] {
  const found: string[] = [];
  const token = /\s*(?:("(?:[^"\\]|\\.)*")|([{}[\],:])|[^\s{}[\],:"]+)/gy;
  const next = () => token.exec(text);
  const visit = (path: string): void => {
    const [, , mark] = next() ?? [];
    if (mark === '{') visitObject(path);
    if (mark === '[') visitArray(path);
  };
  const visitObject = (path: string): void => {
    const seen = new Set<string>();
    for (;;) {
      const [, key, mark] = next() ?? [undefined, undefined, '}'];
      if (key !== undefined) {
        const name = JSON.parse(key) as string;
        const field = path === '' ? name : `${path}.${name}`;
        if (seen.has(name)) found.push(field);
        seen.add(name);
        next();
        visit(field);
      } else if (mark === '}') return;
    }
  };
  const visitArray = (path: string): void => {
    for (let index = 0; ; ) {
      const before = token.lastIndex;
      const match = next();
      if (match === null || match[2] === ']') return;
      if (match[2] === ',') {
        index++;
        continue;
      }
      token.lastIndex = before;
      visit(`${path}[${index}]`);
    }
  };
  visit('');
  return found;
}
