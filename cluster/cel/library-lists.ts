/** Kubernetes' functions of lists, and of lists as sets. */
import { isDeepStrictEqual } from 'node:util';
import type { Environment } from '@marcbachmann/cel-js';

type Comparable = bigint | number | string | boolean;

export function addListFunctions(environment: Environment): void {
  const add = (signature: string, handler: (...values: never[]) => unknown) =>
    environment.registerFunction(signature, handler as (...values: unknown[]) => unknown, { async: false });
  add('list.isSorted(): bool', (list: Comparable[]) => list.every((one, at) => at === 0 || !(one < at1(list, at - 1))));
  add('list.sum(): dyn', (list: (bigint | number)[]) =>
    list.length === 0 ? 0n : list.reduce((sum, one) => (sum as number) + (one as number)),
  );
  add('list.min(): dyn', (list: Comparable[]) => pick(list, 'min', (one, best) => one < best));
  add('list.max(): dyn', (list: Comparable[]) => pick(list, 'max', (one, best) => one > best));
  add('list.indexOf(dyn): int', (list: unknown[], wanted: unknown) => BigInt(list.findIndex(same(wanted))));
  add('list.lastIndexOf(dyn): int', (list: unknown[], wanted: unknown) => BigInt(list.findLastIndex(same(wanted))));
  class Sets {}
  environment.registerType('SetsNamespace', Sets);
  environment.registerConstant('sets', 'SetsNamespace', new Sets());
  add('SetsNamespace.contains(list, list): bool', (_: Sets, a: unknown[], b: unknown[]) => contains(a, b));
  add(
    'SetsNamespace.equivalent(list, list): bool',
    (_: Sets, a: unknown[], b: unknown[]) => contains(a, b) && contains(b, a),
  );
  add('SetsNamespace.intersects(list, list): bool', (_: Sets, a: unknown[], b: unknown[]) =>
    b.some((one) => a.some(same(one))),
  );
}

function at1(list: Comparable[], index: number): Comparable {
  return list[index] as Comparable;
}

function pick(list: Comparable[], name: string, better: (one: Comparable, best: Comparable) => boolean): Comparable {
  if (list.length === 0) throw new Error(`${name} called on empty list`);
  return list.reduce((best, one) => (better(one, best) ? one : best));
}

function same(wanted: unknown): (one: unknown) => boolean {
  return (one) => isDeepStrictEqual(one, wanted);
}

function contains(all: unknown[], some: unknown[]): boolean {
  return some.every((one) => all.some(same(one)));
}
