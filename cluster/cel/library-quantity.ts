/** `quantity("1.5Gi")` and what is asked of it (Kubernetes "Kubernetes quantity library"). */
import type { Environment } from '@marcbachmann/cel-js';
import { type Amount, parseAmount } from '../kinds/amount.ts';
import { quantityProblem } from '../kinds/quantity.ts';

const NANO = 1_000_000_000n;

class Quantity {
  readonly amount: Amount;
  constructor(amount: Amount) {
    this.amount = amount;
  }
}

export function addQuantityFunctions(environment: Environment): void {
  const add = (signature: string, handler: (...values: never[]) => unknown) =>
    environment.registerFunction(signature, handler as (...values: unknown[]) => unknown, { async: false });
  environment.registerType('kubernetes.Quantity', { ctor: Quantity, fields: {} });
  const nano = ({ amount }: Quantity) => amount.nano;
  const moved = (one: Quantity, by: bigint) => new Quantity({ ...one.amount, nano: nano(one) + by });
  add('quantity(string): kubernetes.Quantity', (text: string) => {
    const problem = quantityProblem(text);
    if (problem !== undefined) throw new Error(problem);
    return new Quantity(parseAmount(text));
  });
  add('isQuantity(string): bool', (text: string) => quantityProblem(text) === undefined);
  add('kubernetes.Quantity.isGreaterThan(kubernetes.Quantity): bool', (a: Quantity, b: Quantity) => nano(a) > nano(b));
  add('kubernetes.Quantity.isLessThan(kubernetes.Quantity): bool', (a: Quantity, b: Quantity) => nano(a) < nano(b));
  add('kubernetes.Quantity.compareTo(kubernetes.Quantity): int', (a: Quantity, b: Quantity) =>
    nano(a) < nano(b) ? -1n : nano(a) > nano(b) ? 1n : 0n,
  );
  environment.registerOperator(
    'kubernetes.Quantity == kubernetes.Quantity',
    (a: Quantity, b: Quantity) => nano(a) === nano(b),
  );
  add('kubernetes.Quantity.add(kubernetes.Quantity): kubernetes.Quantity', (a: Quantity, b: Quantity) =>
    moved(a, nano(b)),
  );
  add('kubernetes.Quantity.add(int): kubernetes.Quantity', (a: Quantity, b: bigint) => moved(a, b * NANO));
  add('kubernetes.Quantity.sub(kubernetes.Quantity): kubernetes.Quantity', (a: Quantity, b: Quantity) =>
    moved(a, -nano(b)),
  );
  add('kubernetes.Quantity.sub(int): kubernetes.Quantity', (a: Quantity, b: bigint) => moved(a, -b * NANO));
  add('kubernetes.Quantity.sign(): int', (one: Quantity) => (nano(one) < 0n ? -1n : nano(one) > 0n ? 1n : 0n));
  add('kubernetes.Quantity.isInteger(): bool', (one: Quantity) => nano(one) % NANO === 0n);
  add('kubernetes.Quantity.asInteger(): int', (one: Quantity) => {
    if (nano(one) % NANO !== 0n) throw new Error('cannot convert value to integer');
    return nano(one) / NANO;
  });
  add('kubernetes.Quantity.asApproximateFloat(): double', (one: Quantity) => Number(nano(one)) / 1e9);
}
