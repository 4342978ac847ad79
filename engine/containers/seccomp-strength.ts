/**
 * Which of two seccomp profiles is the stronger. Used by the test that holds ours beside Docker's, and on profiles that
 * clients bring.
 *
 * Exact for reference profiles whose conditions each look at one argument, as ours and Docker's do: every value at which
 * a condition of either side can change its mind is tried.
 */
import type { SeccompProfile, SeccompArgument, SeccompRule } from '../engine.ts';

const top = 2n ** 64n - 1n;
/** A tracer or a listener decides, or nobody does: as good as allowed. */
const denying = new Set([
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_TRAP',
]);

/** What `profile` lets through and `reference` does not, each as one line; empty where it is as strong or stronger. */
export function weakerThan(profile: SeccompProfile, reference: SeccompProfile): string[] {
  if (!denying.has(profile.defaultAction)) return [`what no rule names: ${profile.defaultAction}`];
  const found: string[] = profile.architectures
    .filter((name) => !reference.architectures.includes(name))
    .map((name) => `architecture ${name}`);
  const allowed = rulesByName(profile);
  const wanted = rulesByName(reference);
  for (const [name, rules] of allowed) {
    const own = rules.filter(({ action }) => !denying.has(action));
    const others = (wanted.get(name) ?? []).filter(({ action }) => !denying.has(action));
    const gap = own.length === 0 ? undefined : firstGap(own, others);
    if (gap !== undefined) found.push(`${name}${gap}`);
  }
  return found;
}

function rulesByName({ syscalls }: SeccompProfile): Map<string, SeccompRule[]> {
  const found = new Map<string, SeccompRule[]>();
  for (const rule of syscalls) for (const name of rule.names) found.set(name, [...(found.get(name) ?? []), rule]);
  return found;
}

/** Arguments that `rules` accept and `others` do not, as text. */
function firstGap(rules: SeccompRule[], others: SeccompRule[]): string | undefined {
  if (others.some((rule) => (rule.args ?? []).length === 0)) return undefined;
  const conditions = [...rules, ...others].flatMap(({ args }) => args ?? []);
  const indexes = [...new Set(conditions.map(({ index }) => index))];
  const values = indexes.map((index) => candidates(conditions.filter((one) => one.index === index)));
  for (const combination of product(values)) {
    const call = new Map(indexes.map((index, place) => [index, combination[place] ?? 0n]));
    if (!rules.some((rule) => accepts(rule, call)) || others.some((rule) => accepts(rule, call))) continue;
    const shown = [...call].map(([index, value]) => `argument ${index} = ${value}`).join(', ');
    return shown === '' ? '' : ` with ${shown}`;
  }
  return undefined;
}

/** An argument twice in one rule means either, as the OCI runtime has it; different ones mean all. */
function accepts({ args = [] }: SeccompRule, call: ReadonlyMap<number, bigint>): boolean {
  const repeated = new Set(args.map(({ index }) => index)).size < args.length;
  const holds = (one: SeccompArgument): boolean => matches(one, call.get(one.index) ?? 0n);
  return repeated ? args.some(holds) : args.every(holds);
}

function matches({ op, value, valueTwo = 0 }: SeccompArgument, actual: bigint): boolean {
  const wanted = BigInt(value);
  switch (op) {
    case 'SCMP_CMP_EQ':
      return actual === wanted;
    case 'SCMP_CMP_NE':
      return actual !== wanted;
    case 'SCMP_CMP_LT':
      return actual < wanted;
    case 'SCMP_CMP_LE':
      return actual <= wanted;
    case 'SCMP_CMP_GT':
      return actual > wanted;
    case 'SCMP_CMP_GE':
      return actual >= wanted;
    case 'SCMP_CMP_MASKED_EQ':
      return (actual & wanted) === BigInt(valueTwo);
    default:
      throw new Error(`seccomp: ${op} is no comparison`);
  }
}

function candidates(conditions: SeccompArgument[]): bigint[] {
  const found = new Set<bigint>([0n, top]);
  for (let bit = 0n; bit < 64n; bit += 1n) found.add(1n << bit);
  for (const { op, value, valueTwo = 0 } of conditions) {
    const around = BigInt(value);
    for (const one of [around - 1n, around, around + 1n]) if (one >= 0n && one <= top) found.add(one);
    if (op !== 'SCMP_CMP_MASKED_EQ') continue;
    const fixed = BigInt(valueTwo);
    for (const one of [fixed, fixed | (top ^ around)]) found.add(one);
    for (let bit = 0n; bit < 64n; bit += 1n) if (((around >> bit) & 1n) === 0n) found.add(fixed | (1n << bit));
  }
  return [...found];
}

function* product(lists: bigint[][], place = 0): Generator<bigint[]> {
  const list = lists[place];
  if (list === undefined) {
    yield [];
    return;
  }
  for (const value of list) for (const rest of product(lists, place + 1)) yield [value, ...rest];
}
