/** An error of a query, in Prometheus' words (prometheus.io/docs/prometheus/latest/querying/api). */
export class QueryError extends Error {
  readonly status: number;
  readonly type: 'bad_data' | 'execution' | 'internal';
  constructor(message: string, options: { status?: number; type?: QueryError['type'] } = {}) {
    super(message);
    this.name = 'QueryError';
    this.status = options.status ?? 400;
    this.type = options.type ?? 'bad_data';
  }
}
