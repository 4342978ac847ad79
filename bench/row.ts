/** One line of a measurement: ours beside the peer's, with what was to be reached. */
export interface Row {
  /** What was measured, and by which client on both sides. */
  what: string;
  unit: string;
  ours: number;
  /** The peer and its figure; absent where it does not run here. */
  peer?: { name: string; value: number };
  /** Is a greater figure better? */
  greater?: boolean;
  goal: string;
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function formatRows(rows: Row[]): string {
  const cells = rows.map((row) => [
    row.what,
    figure(row.ours, row.unit),
    row.peer ? `${figure(row.peer.value, row.unit)} (${row.peer.name})` : '',
    row.peer ? `${(row.ours / row.peer.value).toFixed(2)} x` : '',
    row.goal,
  ]);
  const header = ['what', 'ours', 'peer', 'ratio', 'goal'];
  const widths = header.map((_, at) => Math.max(...[header, ...cells].map((line) => (line[at] ?? '').length)));
  const line = (words: string[]): string => `| ${words.map((word, at) => word.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  return [line(header), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...cells.map(line)].join('\n');
}

function figure(value: number, unit: string): string {
  const text =
    value >= 100 ? Math.round(value).toLocaleString('en') : value >= 10 ? value.toFixed(1) : value.toFixed(2);
  return `${text} ${unit}`;
}
