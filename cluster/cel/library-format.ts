/** `"%s of %d".format([…])` and `strings.quote` (CEL's string extension). */
import { type Environment, Optional } from '@marcbachmann/cel-js';

export function addFormatFunctions(environment: Environment): void {
  const add = (signature: string, handler: (...values: never[]) => unknown) =>
    environment.registerFunction(signature, handler as (...values: unknown[]) => unknown, { async: false });
  add('string.format(list<dyn>): string', format);
}

function format(text: string, values: unknown[]): string {
  let next = 0;
  const made = text.replace(/%(?:%|(?:\.(\d+))?([a-zA-Z]))/g, (clause, precision: string | undefined, verb: string) => {
    if (clause === '%%') return '%';
    if (next >= values.length) throw new Error(`index ${next} out of range`);
    return clauseOf(verb, values[next++], precision === undefined ? 6 : Number(precision));
  });
  if (next < values.length) throw new Error('too many arguments supplied to string.format');
  return made;
}

function clauseOf(verb: string, value: unknown, precision: number): string {
  const whole = typeof value === 'bigint' ? value : undefined;
  switch (verb) {
    case 's':
      return shown(value);
    case 'd':
      if (whole !== undefined || typeof value === 'number') return String(value);
      break;
    case 'f':
      if (whole !== undefined || typeof value === 'number') return Number(value).toFixed(precision);
      break;
    case 'e':
      if (whole !== undefined || typeof value === 'number')
        return Number(value)
          .toExponential(precision)
          .replace(/e([+-])(\d)$/, 'e$10$2');
      break;
    case 'b':
      if (typeof value === 'boolean') return value ? '1' : '0';
      if (whole !== undefined) return whole.toString(2);
      break;
    case 'o':
      if (whole !== undefined) return whole.toString(8);
      break;
    case 'x':
    case 'X': {
      const hex = whole?.toString(16) ?? (typeof value === 'string' ? Buffer.from(value).toString('hex') : undefined);
      if (hex !== undefined) return verb === 'X' ? hex.toUpperCase() : hex;
      break;
    }
    default:
      throw new Error(`could not parse formatting clause: unrecognized formatting clause "${verb}"`);
  }
  throw new Error(`error during formatting: %${verb} cannot show ${typeof value}`);
}

function shown(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (value instanceof Date) return value.toISOString().replace(/\.000Z$/, 'Z');
  if (value instanceof Optional) return value.hasValue() ? `optional(${shown(value.value())})` : 'optional.none()';
  if (typeof value !== 'object') return String(value);
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return `{${entries
    .map(([key, inner]): string => `${shown(key)}: ${shown(inner)}`)
    .sort()
    .join(', ')}}`;
}
