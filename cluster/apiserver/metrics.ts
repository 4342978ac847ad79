/** The server's own metrics in Prometheus' text format, under upstream's names. */
const BUCKETS = [0.001, 0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface Histogram {
  buckets: number[];
  sum: number;
  count: number;
}

export class Metrics {
  watchers = 0;
  droppedWatchers = 0;
  private readonly requests = new Map<string, number>();
  private readonly counters = new Map<string, Map<string, number>>();
  private readonly durations = new Map<string, Histogram>();

  observe(verb: string, resource: string, code: number, seconds: number): void {
    const labels = `verb="${verb.toUpperCase()}",resource="${resource}",code="${code}"`;
    this.requests.set(labels, (this.requests.get(labels) ?? 0) + 1);
    if (verb === 'watch') return;
    const key = `verb="${verb.toUpperCase()}",resource="${resource}"`;
    let histogram = this.durations.get(key);
    if (histogram === undefined) {
      histogram = { buckets: BUCKETS.map(() => 0), sum: 0, count: 0 };
      this.durations.set(key, histogram);
    }
    histogram.sum += seconds;
    histogram.count++;
    for (const [index, bound] of BUCKETS.entries())
      if (seconds <= bound) histogram.buckets[index] = (histogram.buckets[index] ?? 0) + 1;
  }

  /** Of a counter that is named here and nowhere else. */
  count(name: string, labels: Record<string, string>, by = 1): void {
    const counter = this.counters.get(name) ?? new Map<string, number>();
    this.counters.set(name, counter);
    const key = labelsText(labels);
    counter.set(key, (counter.get(key) ?? 0) + by);
  }

  /** How often, and how long together. */
  time(name: string, labels: Record<string, string>, seconds: number): void {
    this.count(`${name}_count`, labels);
    this.count(`${name}_sum`, labels, seconds);
  }

  text(gauges: {
    revision: number;
    objects: Map<string, number>;
    audit?: { written: number; dropped: number } | undefined;
    levels: { level: string; running: number; waiting: number; seats: number }[];
  }): string {
    const lines = ['# TYPE apiserver_request_total counter'];
    for (const [labels, count] of this.requests) lines.push(`apiserver_request_total{${labels}} ${count}`);
    lines.push('# TYPE apiserver_request_duration_seconds histogram');
    const name = 'apiserver_request_duration_seconds';
    for (const [labels, { buckets, sum, count }] of this.durations) {
      for (const [index, bound] of BUCKETS.entries())
        lines.push(`${name}_bucket{${labels},le="${bound}"} ${buckets[index]}`);
      lines.push(`${name}_bucket{${labels},le="+Inf"} ${count}`);
      lines.push(`${name}_sum{${labels}} ${sum}`, `${name}_count{${labels}} ${count}`);
    }
    lines.push(
      '# TYPE apiserver_longrunning_requests gauge',
      `apiserver_longrunning_requests{verb="WATCH"} ${this.watchers}`,
    );
    lines.push(
      '# TYPE apiserver_terminated_watchers_total counter',
      `apiserver_terminated_watchers_total ${this.droppedWatchers}`,
    );
    lines.push('# TYPE apiserver_storage_objects gauge');
    for (const [resource, count] of gauges.objects)
      lines.push(`apiserver_storage_objects{resource="${resource}"} ${count}`);
    if (gauges.audit !== undefined)
      lines.push(
        '# TYPE apiserver_audit_event_total counter',
        `apiserver_audit_event_total ${gauges.audit.written}`,
        '# TYPE apiserver_audit_error_total counter',
        `apiserver_audit_error_total{plugin="log"} ${gauges.audit.dropped}`,
      );
    for (const [name, field] of [
      ['current_executing_requests', 'running'],
      ['current_inqueue_requests', 'waiting'],
      ['nominal_limit_seats', 'seats'],
    ] as const) {
      lines.push(`# TYPE apiserver_flowcontrol_${name} gauge`);
      for (const level of gauges.levels)
        lines.push(`apiserver_flowcontrol_${name}{priority_level="${level.level}"} ${level[field]}`);
    }
    for (const [name, counter] of this.counters) {
      lines.push(`# TYPE ${name} counter`);
      for (const [labels, count] of counter) lines.push(`${name}{${labels}} ${count}`);
    }
    lines.push('# TYPE sampan_store_revision gauge', `sampan_store_revision ${gauges.revision}`);
    return `${lines.join('\n')}\n`;
  }
}

function labelsText(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(',');
}
