/** The syntax of a CronJob's schedule: five fields, or a name as `@hourly`. */
const NAMES = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'];
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const FIELDS = [
  { low: 0, high: 59, names: [] },
  { low: 0, high: 23, names: [] },
  { low: 1, high: 31, names: [] },
  { low: 1, high: 12, names: MONTHS },
  { low: 0, high: 6, names: DAYS },
];

/** What is wrong with it, or undefined. */
export function scheduleProblem(schedule: string): string | undefined {
  const text = schedule.trim();
  if (text === '') return 'empty spec string';
  if (text.startsWith('@')) {
    if (NAMES.includes(text) || /^@every (\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
    return `unrecognized descriptor: ${text}`;
  }
  const parts = text.split(/\s+/);
  if (parts.length !== 5) return `expected exactly 5 fields, found ${parts.length}: [${parts.join(' ')}]`;
  for (const [index, part] of parts.entries())
    for (const range of part.split(',')) {
      const problem = rangeProblem(range, FIELDS[index] as (typeof FIELDS)[number]);
      if (problem !== undefined) return problem;
    }
  return undefined;
}

function rangeProblem(text: string, { low, high, names }: { low: number; high: number; names: string[] }) {
  const [range = '', step, ...more] = text.split('/');
  if (more.length > 0) return `too many slashes: ${text}`;
  const [from = '', to, ...others] = range.split('-');
  if (others.length > 0) return `too many hyphens: ${text}`;
  const numberOf = (word: string) => {
    const named = names.indexOf(word.toLowerCase());
    if (named >= 0) return named + low;
    return /^\d+$/.test(word) ? Number(word) : undefined;
  };
  const any = from === '*' || from === '?';
  const first = any ? low : numberOf(from);
  const last = any ? high : to === undefined ? first : numberOf(to);
  if (first === undefined || last === undefined)
    return `failed to parse int from ${first === undefined ? from : to}: strconv.Atoi: parsing "${first === undefined ? from : to}": invalid syntax`;
  if (first < low) return `beginning of range (${first}) below minimum (${low}): ${text}`;
  if (last > high) return `end of range (${last}) above maximum (${high}): ${text}`;
  if (first > last) return `beginning of range (${first}) beyond end of range (${last}): ${text}`;
  if (step === undefined) return undefined;
  if (!/^\d+$/.test(step)) return `failed to parse int from ${step}: strconv.Atoi: parsing "${step}": invalid syntax`;
  return Number(step) === 0 ? `step of range should be a positive number: ${text}` : undefined;
}
