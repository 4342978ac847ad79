/**
 * The form in which quantities are kept and shown (API reference, "Quantity"): no fraction, the greatest suffix of the kind that was
 * written, so that two writings of one value are one. `0.5` is `500m`, `1.5Gi` is `1536Mi`, `1e4` is `10e3`.
 */
import { formatAmount, parseAmount } from './amount.ts';

const NANO = 1_000_000_000n;
/** Upstream keeps binary ones in 64 bits. */
const BINARY_MAX = (2n ** 63n - 1n) * NANO;

/** Of a text without a problem: see `quantityProblem`. */
export function canonicalQuantity(text: string): string {
  const amount = parseAmount(text);
  if (amount.nano !== 0n && /[eE][+-]?\d+$/.test(text)) return exponentForm(amount.nano);
  if (!amount.binary) return formatAmount(amount);
  const magnitude = amount.nano < 0n ? -amount.nano : amount.nano;
  if (magnitude > BINARY_MAX) return formatAmount({ ...amount, nano: amount.nano < 0n ? -BINARY_MAX : BINARY_MAX });
  return formatAmount(amount);
}

function exponentForm(nano: bigint): string {
  let [value, exponent] = [nano, -9];
  while (value % 1000n === 0n) {
    value /= 1000n;
    exponent += 3;
  }
  return exponent === 0 ? String(value) : `${value}e${exponent}`;
}
