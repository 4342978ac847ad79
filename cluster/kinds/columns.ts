/** Printer columns, worded as kubectl shows them. */
import type { ApiObject, PrinterColumn } from './kind.ts';

const NAME_TEXT = 'Name must be unique within a namespace. It is what commands and other objects refer to.';

export const nameColumn: PrinterColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: NAME_TEXT,
  priority: 0,
  value: (object) => object.metadata.name ?? '',
};

export const ageColumn: PrinterColumn = {
  name: 'Age',
  type: 'string',
  description: 'The time since the object was created.',
  priority: 0,
  value: (object, now) => age(object.metadata.creationTimestamp, now),
};

export function column<T = ApiObject>(
  name: string,
  type: PrinterColumn['type'],
  value: (object: T, now: number) => string | number | boolean | null,
  options: { description?: string; wide?: boolean } = {},
): PrinterColumn {
  return {
    name,
    type,
    description: options.description ?? name,
    priority: options.wide === true ? 1 : 0,
    value: value as PrinterColumn['value'],
  };
}

/** `a=b,c=d`, keys in order; `<none>` when there are none. */
export function formatMap(map: Record<string, string> | undefined): string {
  const entries = Object.entries(map ?? {}).map(([key, value]) => `${key}=${value}`);
  return entries.length === 0 ? '<none>' : entries.sort().join(',');
}

/** `<unknown>` without a time, else as `5m10s`. */
export function age(time: string | undefined, now: number): string {
  return time === undefined ? '<unknown>' : duration((now - Date.parse(time)) / 1000);
}

/** Two units at most, fewer the longer it is: `45s`, `3m20s`, `15m`, `5h30m`, `2d3h`, `40d`, `2y10d`. */
export function duration(seconds: number): string {
  const s = Math.floor(seconds);
  if (s < -1) return '<invalid>';
  if (s < 0) return '0s';
  if (s < 120) return `${s}s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 10) return s % 60 === 0 ? `${minutes}m` : `${minutes}m${s % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(s / 3600);
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (hours < 192) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  if (days < 2920) return days % 365 === 0 ? `${years}y` : `${years}y${days % 365}d`;
  return `${years}y`;
}
