/** Kubernetes quantities: `100m`, `1.5`, `128Mi`, `1e3` (API reference, "Quantity"). */
const QUANTITY = /^([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?$/;

const FACTORS: Record<string, number> = {
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

const EXPONENT_LIMIT = 300;

/** Longer ones name no amount of anything, and take ever longer to be added up. */
const LONGEST = 256;

export function quantityProblem(text: string): string | undefined {
  return text.length <= LONGEST && QUANTITY.test(text)
    ? undefined
    : "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
}

/** Its value in the base unit; NaN when it is no quantity. */
export function quantityValue(text: string): number {
  const match = QUANTITY.exec(text);
  if (match === null) return Number.NaN;
  const [, sign, digits, suffix = ''] = match;
  // `1Ei` has none; and nothing times infinity would be no number.
  const exponent = /^[eE][+-]?\d/.test(suffix) ? Math.min(Number(suffix.slice(1)), EXPONENT_LIMIT) : undefined;
  const factor = exponent === undefined ? (FACTORS[suffix] ?? 1) : 10 ** exponent;
  return (sign === '-' ? -1 : 1) * Number(digits) * factor;
}
