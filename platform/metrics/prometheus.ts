/** Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */
import type { Exporter, Histogram, MetricFamily } from './exporter.ts';

export const prometheus: Exporter = {
  contentType: 'text/plain; version=0.0.4; charset=utf-8',
  write: (families) =>
    families
      .filter(({ samples }) => samples.length > 0)
      .map(familyText)
      .join(''),
};

function familyText(family: MetricFamily): string {
  const { name, type, help, labels, samples } = family;
  const lines = [`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${type}`];
  for (const sample of samples) {
    const pairs = labels.map((label, index) => `${label}="${escaped(sample.labels[index] ?? '')}"`);
    if (typeof sample.value === 'number') lines.push(`${name}${braced(pairs)} ${numberText(sample.value)}`);
    else lines.push(...histogramLines(name, pairs, sample.value));
  }
  return `${lines.join('\n')}\n`;
}

function histogramLines(name: string, pairs: string[], { bounds, counts, sum, count }: Histogram): string[] {
  const buckets = [
    ...bounds.map((bound, index) => [numberText(bound), counts[index] ?? 0] as const),
    ['+Inf', count] as const,
  ];
  return [
    ...buckets.map(([bound, value]) => `${name}_bucket${braced([...pairs, `le="${bound}"`])} ${value}`),
    `${name}_sum${braced(pairs)} ${numberText(sum)}`,
    `${name}_count${braced(pairs)} ${count}`,
  ];
}

function braced(pairs: string[]): string {
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** Names of apps and hosts are their users': nothing of them leaves its quotes. */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
