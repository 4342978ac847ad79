/** Resource quantities as Kubernetes writes them (`100m`, `1Gi`, `1e3`): https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
import { AgentError } from './errors.ts';

const factors: Record<string, number> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The value in its base unit: bytes, cores. */
export function parseQuantity(text: string | number): number {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(String(text).trim());
  const factor = !match ? undefined : factors[match[3] ?? ''];
  if (!match || factor === undefined) {
    throw new AgentError('Invalid', `cannot read quantity "${text}": write a number with a suffix, as 500m or 1Gi`);
  }
  return match[2] ? Number(`${match[1]}${match[2]}`) : Number(match[1]) * factor;
}

export function bytesOf(text: string | number): number {
  return Math.ceil(parseQuantity(text));
}

/** Thousandths, rounded up: 1m is the least that counts. */
export function milliOf(text: string | number): number {
  return Math.ceil(Number((parseQuantity(text) * 1000).toFixed(6)));
}
