/** Resource quantities as the agent needs them; read by `../kinds/quantity.ts`. */
import { quantityValue } from '../kinds/quantity.ts';
import { AgentError } from './errors.ts';

/** The value in its base unit: bytes, cores. */
export function parseQuantity(text: string | number): number {
  const value = quantityValue(String(text).trim());
  if (Number.isNaN(value)) {
    throw new AgentError('Invalid', `cannot read quantity "${text}": write a number with a suffix, as 500m or 1Gi`);
  }
  return value;
}

export function bytesOf(text: string | number): number {
  return Math.ceil(parseQuantity(text));
}

/** Thousandths, rounded up: 1m is the least that counts. */
export function milliOf(text: string | number): number {
  return Math.ceil(Number((parseQuantity(text) * 1000).toFixed(6)));
}
