/** The part of JSONPath that printer columns and scale paths use: `.spec.replicas`, `.a[0].b`, `.c[?(@.type=="Ready")].status`. */
type Step = { key: string } | { index: number } | { every: true } | { where: string; equals: string };

const STEP =
  /\.([A-Za-z0-9_$-]+(?:\\.[A-Za-z0-9_$-]+)*)|\['([^']+)'\]|\[(\d+)\]|(\[\*\]|\.\*)|\[\?\(@\.([A-Za-z0-9_.-]+)\s*==\s*["']([^"']*)["']\)\]/y;

/** Undefined when the text is no path that we know. */
export function parseJsonPath(text: string): ((object: unknown) => unknown[]) | undefined {
  const source = text.startsWith('{') && text.endsWith('}') ? text.slice(1, -1) : text;
  const path = source.startsWith('.') || source.startsWith('[') ? source : `.${source}`;
  const steps: Step[] = [];
  let at = 0;
  while (at < path.length) {
    STEP.lastIndex = at;
    const match = STEP.exec(path);
    if (match === null) return undefined;
    const key = match[1]?.replaceAll('\\.', '.') ?? match[2];
    if (key !== undefined) steps.push({ key });
    else if (match[3] !== undefined) steps.push({ index: Number(match[3]) });
    else if (match[4] !== undefined) steps.push({ every: true });
    else steps.push({ where: match[5] ?? '', equals: match[6] ?? '' });
    at = STEP.lastIndex;
  }
  return (object) => steps.reduce<unknown[]>((values, step) => values.flatMap((value) => take(value, step)), [object]);
}

function take(value: unknown, step: Step): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('key' in step) {
    if (!Object.hasOwn(value, step.key)) return [];
    return [(value as Record<string, unknown>)[step.key]];
  }
  if ('index' in step) return Array.isArray(value) && step.index < value.length ? [value[step.index]] : [];
  if ('every' in step) return Object.values(value);
  if (!Array.isArray(value)) return [];
  const inner = parseJsonPath(step.where);
  return value.filter((item) => inner?.(item).some((found) => String(found) === step.equals));
}
