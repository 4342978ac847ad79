/**
 * Quantities that are added and compared exactly: whole nano-units, so that `100m` ten times is `1` (API reference,
 * "Quantity"). Written in its canonical form: the greatest suffix that leaves a whole number.
 */
export interface Amount {
  nano: bigint;
  /** Powers of 1024: `Ki`, `Mi`, …; else powers of 1000. */
  binary: boolean;
}

const PARTS = /^([+-]?)(\d*)(?:\.(\d*))?(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?$/;
const NANO = 1_000_000_000n;
const BINARY = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL: Record<string, number> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const EXPONENT_LIMIT = 30;

export const ZERO: Amount = { nano: 0n, binary: false };

/** What is no quantity counts as 0: validation has refused it before. */
export function parseAmount(text: string): Amount {
  const match = PARTS.exec(text);
  if (match === null) return ZERO;
  const [, sign, whole = '', fraction = '', suffix = ''] = match;
  const digits = BigInt(`${whole}${fraction}` || '0') * (sign === '-' ? -1n : 1n);
  const power = BINARY.indexOf(suffix);
  if (power > 0) {
    const scaled = digits * 1024n ** BigInt(power) * NANO;
    return { nano: divideUp(scaled, 10n ** BigInt(fraction.length)), binary: true };
  }
  const named = DECIMAL[suffix] ?? Number(suffix.slice(1));
  const exponent = Math.max(-EXPONENT_LIMIT, Math.min(EXPONENT_LIMIT, named)) + 9 - fraction.length;
  const nano = exponent >= 0 ? digits * 10n ** BigInt(exponent) : divideUp(digits, 10n ** BigInt(-exponent));
  return { nano, binary: false };
}

export function plus(one: Amount, other: Amount): Amount {
  return { nano: one.nano + other.nano, binary: one.nano === 0n ? other.binary : one.binary };
}

export function greaterOf(one: Amount, other: Amount): Amount {
  return other.nano > one.nano ? other : one;
}

export function count(value: number): Amount {
  return { nano: BigInt(value) * NANO, binary: false };
}

export function formatAmount({ nano, binary }: Amount): string {
  if (nano === 0n) return '0';
  if (binary && nano % NANO === 0n && !isBelowKibi(nano)) {
    let value = nano / NANO;
    let power = 0;
    while (power < BINARY.length - 1 && value % 1024n === 0n) {
      value /= 1024n;
      power++;
    }
    return `${value}${BINARY[power]}`;
  }
  let value = nano;
  let exponent = -9;
  while (exponent < 18 && value % 1000n === 0n) {
    value /= 1000n;
    exponent += 3;
  }
  const suffix = Object.keys(DECIMAL).find((name) => DECIMAL[name] === exponent) ?? '';
  return `${value}${suffix}`;
}

/** Upstream writes those as decimal ones. */
function isBelowKibi(nano: bigint): boolean {
  return nano < 1024n * NANO && nano > -1024n * NANO;
}

/** Upstream rounds away from zero. */
function divideUp(value: bigint, by: bigint): bigint {
  const whole = value / by;
  if (value % by === 0n) return whole;
  return value > 0n ? whole + 1n : whole - 1n;
}
