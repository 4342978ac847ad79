/**
 * JSON Patch (RFC 6902) and its pointers (RFC 6901), of clients and webhooks. A pointer sees what is the document's own and nothing that
 * objects inherit: it cannot lead out of the document. What copies may add up to is bounded, since each can double what is there.
 */
import { isDeepStrictEqual } from 'node:util';
import { ownField, setOwn } from '#lib/own-field.ts';

export class JsonPatchError extends Error {
  /** `malformed`: no patch at all. `failed`: it does not apply to this document. */
  readonly code: 'malformed' | 'failed';
  /** Which operation. */
  readonly at: number;
  constructor(code: JsonPatchError['code'], at: number, message: string) {
    super(message);
    this.name = 'JsonPatchError';
    this.code = code;
    this.at = at;
  }
}

/** Bytes of JSON that all copies of one patch together may add. */
const COPY_LIMIT = 3 * 1024 * 1024;

/**
 * Changes the document in place as far as it goes.
 * @returns the document, which is another where its root was replaced
 * @throws JsonPatchError
 */
export function applyJsonPatch(document: unknown, operations: readonly unknown[]): unknown {
  const patch: Patch = { root: document, copied: 0 };
  for (const [at, operation] of operations.entries()) {
    try {
      applyOne(patch, operation);
    } catch (error) {
      if (error instanceof Problem) throw new JsonPatchError(error.code, at, error.message);
      throw error;
    }
  }
  return patch.root;
}

class Problem extends Error {
  readonly code: JsonPatchError['code'];
  constructor(code: JsonPatchError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

interface Patch {
  root: unknown;
  copied: number;
}

function applyOne(patch: Patch, operation: unknown): void {
  if (typeof operation !== 'object' || operation === null) throw new Problem('malformed', 'it is no object');
  const path = pointerIn(operation, 'path');
  // What is put in must not be shared with the patch, which may be applied again to a newer object.
  const value = (): unknown => {
    if (!Object.hasOwn(operation, 'value')) throw new Problem('malformed', 'it has no value');
    return structuredClone(ownField(operation, 'value'));
  };
  const verb = ownField(operation, 'op');
  switch (verb) {
    case 'add':
      return add(patch, path, value());
    case 'replace':
      return replace(patch, path, value());
    case 'remove':
      return remove(patch, path);
    case 'move': {
      const from = pointerIn(operation, 'from');
      if (path.length > from.length && from.every((token, index) => token === path[index]))
        throw new Problem('failed', 'it moves a thing into itself');
      const moved = find(patch.root, from);
      remove(patch, from);
      return add(patch, path, moved);
    }
    case 'copy': {
      const copied = find(patch.root, pointerIn(operation, 'from'));
      patch.copied += Buffer.byteLength(JSON.stringify(copied));
      if (patch.copied > COPY_LIMIT)
        throw new Problem(
          'failed',
          `Unable to complete the copy, the accumulated size increase of copy is ${patch.copied}, exceeding the limit ${COPY_LIMIT}`,
        );
      return add(patch, path, structuredClone(copied));
    }
    case 'test':
      if (!isDeepStrictEqual(find(patch.root, path), value())) throw new Problem('failed', 'the value is another');
      return;
    default:
      throw new Problem('malformed', `unknown operation ${JSON.stringify(verb)?.slice(0, 80)}`);
  }
}

/** Its tokens; none for the whole document. */
function pointerIn(operation: object, field: 'path' | 'from'): string[] {
  const text = ownField(operation, field);
  if (typeof text !== 'string') throw new Problem('malformed', `it has no ${field}`);
  if (text === '') return [];
  if (!text.startsWith('/')) throw new Problem('malformed', `its ${field} does not begin with a slash`);
  return text
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function missing(): Problem {
  return new Problem('failed', 'its path does not exist');
}

function find(root: unknown, path: readonly string[]): unknown {
  let value = root;
  for (const token of path) {
    value = Array.isArray(value)
      ? value[indexIn(value, token, value.length - 1)]
      : typeof value === 'object' && value !== null
        ? ownField(value, token)
        : undefined;
    if (value === undefined) throw missing();
  }
  return value;
}

function indexIn(list: readonly unknown[], token: string, last: number): number {
  if (!/^(0|[1-9]\d{0,9})$/.test(token) || Number(token) > last) throw missing();
  return Number(token);
}

/** The last token, and what it is a member of. */
function placeOf(root: unknown, path: readonly string[]): { holder: unknown[] | object; token: string } {
  const holder = find(root, path.slice(0, -1));
  if (typeof holder !== 'object' || holder === null) throw missing();
  return { holder, token: path.at(-1) ?? '' };
}

function add(patch: Patch, path: readonly string[], value: unknown): void {
  if (path.length === 0) {
    patch.root = value;
    return;
  }
  const { holder, token } = placeOf(patch.root, path);
  if (!Array.isArray(holder)) setOwn(holder, token, value);
  else if (token === '-') holder.push(value);
  else holder.splice(indexIn(holder, token, holder.length), 0, value);
}

function replace(patch: Patch, path: readonly string[], value: unknown): void {
  if (path.length === 0) {
    patch.root = value;
    return;
  }
  const { holder, token } = placeOf(patch.root, path);
  if (Array.isArray(holder)) holder[indexIn(holder, token, holder.length - 1)] = value;
  else if (Object.hasOwn(holder, token)) setOwn(holder, token, value);
  else throw missing();
}

function remove(patch: Patch, path: readonly string[]): void {
  if (path.length === 0) throw new Problem('failed', 'the whole document cannot be removed');
  const { holder, token } = placeOf(patch.root, path);
  if (Array.isArray(holder)) holder.splice(indexIn(holder, token, holder.length - 1), 1);
  else if (Object.hasOwn(holder, token)) delete (holder as Record<string, unknown>)[token];
  else throw missing();
}
