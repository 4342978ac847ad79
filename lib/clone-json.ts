/**
 * A copy of what `JSON.parse` gives that shares nothing with it. Several times faster than `structuredClone`, which serializes: it knows
 * no classes, no cycles and no keys but strings.
 */
export function cloneJson<T>(value: T): T {
  return copy(value) as T;
}

function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copy);
  const now: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const inner = copy((value as Record<string, unknown>)[key]);
    // Assigned, it would be the prototype.
    if (key === '__proto__')
      Object.defineProperty(now, key, { value: inner, enumerable: true, configurable: true, writable: true });
    else now[key] = inner;
  }
  return now;
}
