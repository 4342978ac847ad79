/**
 * What lists show, in bytes: a page of 5,000 is several megabytes, and as text it would be put together and copied several times for
 * each request, mostly into garbage.
 */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Json } from './api.ts';

interface Known {
  bytes: Buffer;
  besides: readonly unknown[];
}

/**
 * Puts each object into JSON once, for as long as it is there: what changed is another object. `present` may look at nothing else that
 * changes, unless `besides` names it: objects (of the same kind: those that change are others), or texts.
 */
export function presented<T extends ClientObject>(
  present: (item: Stored<T>) => Json,
  besides: (item: Stored<T>) => readonly unknown[] = () => [],
): (item: Stored<T>) => Buffer {
  const known = new WeakMap<Stored<T>, Known>();
  return (item) => {
    const before = known.get(item);
    const now = besides(item);
    if (before?.besides.every((one, index) => one === now[index])) return before.bytes;
    const bytes = jsonBytes(present(item));
    known.set(item, { bytes, besides: now });
    return bytes;
  };
}

export function jsonBytes(value: Json): Buffer {
  return Buffer.from(JSON.stringify(value));
}

const COMMA = Buffer.from(',');
const END = Buffer.from(']}');

/** `around` with the members of `list` for its last property. */
export function withList(around: Json, name: string, list: readonly Buffer[]): Buffer {
  const begin = Buffer.from(`${JSON.stringify(around).slice(0, -1)},${JSON.stringify(name)}:[`);
  const parts: Buffer[] = [begin];
  for (const bytes of list) {
    if (parts.length > 1) parts.push(COMMA);
    parts.push(bytes);
  }
  parts.push(END);
  return Buffer.concat(parts);
}
