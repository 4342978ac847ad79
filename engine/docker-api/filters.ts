/**
 * The `filters` of Docker's lists: a JSON object of lists, or of objects whose keys are the values (older clients).
 */
import { DockerError } from './errors.ts';

export type Filters = ReadonlyMap<string, readonly string[]>;

export function parseFilters(text: string | null, known: readonly string[]): Filters {
  if (text === null || text === '') return new Map();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DockerError(400, `filters is no JSON: ${text.slice(0, 200)}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DockerError(400, 'filters is no JSON object');
  const filters = new Map<string, readonly string[]>();
  for (const [name, given] of Object.entries(value)) {
    if (!known.includes(name)) throw new DockerError(400, `invalid filter '${name}'; known are ${known.join(', ')}`);
    const values: unknown = Array.isArray(given)
      ? given
      : typeof given === 'object' && given !== null
        ? Object.keys(given)
        : undefined;
    if (!Array.isArray(values) || values.some((entry) => typeof entry !== 'string')) {
      throw new DockerError(400, `filters.${name} is no list of strings`);
    }
    filters.set(name, values as string[]);
  }
  return filters;
}

/** Whether one of the filter's values fits; a filter that is not given fits everything. */
export function anyOf(filters: Filters, name: string, fits: (value: string) => boolean): boolean {
  const values = filters.get(name);
  return values === undefined || values.length === 0 || values.some(fits);
}

/** Labels are the exception: every one of them must be there, as `key` or `key=value`. */
export function hasLabels(filters: Filters, labels: Readonly<Record<string, string>>): boolean {
  return (filters.get('label') ?? []).every((wanted) => {
    const equals = wanted.indexOf('=');
    const key = equals < 0 ? wanted : wanted.slice(0, equals);
    return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === wanted.slice(equals + 1));
  });
}

/** `label!`: one that fits keeps a thing from being taken. */
export function hasExcludedLabel(filters: Filters, labels: Readonly<Record<string, string>>): boolean {
  return (filters.get('label!') ?? []).some((label) => hasLabels(new Map([['label', [label]]]), labels));
}

export function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (cause) {
    throw new DockerError(400, `filter value ${JSON.stringify(text)} is no regular expression`, { cause });
  }
}
