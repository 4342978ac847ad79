/** Writes docs/reference/metrics.md from the catalogue of metrics: `node tools/metrics-page.ts`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CATALOGUE } from '#platform/metrics/catalogue.ts';
import type { MetricDescription } from '#platform/metrics/exporter.ts';

const INTRODUCTION = `# Metrics

Written by \`tools/metrics-page.ts\` from \`platform/metrics/catalogue.ts\`: change that, not this page.

\`GET https://log-cache.DOMAIN/metrics\` shows them in Prometheus' text format, to bearers of a token that reads everything: an administrator's, or of a
client with \`doppler.firehose\` or \`logs.admin\`. For Prometheus itself make a client of UAA, and let it log in by itself:

\`\`\`yaml
scrape_configs:
  - job_name: sampan
    scheme: https
    metrics_path: /metrics
    static_configs: [{ targets: ['log-cache.DOMAIN'] }]
    tls_config: { ca_file: /var/lib/sampan/pki/ca.crt }
    oauth2:
      client_id: prometheus
      client_secret: …
      token_url: https://uaa.DOMAIN/oauth/token
      tls_config: { ca_file: /var/lib/sampan/pki/ca.crt }
\`\`\`

Labels that begin with \`app\`, and \`space\` and \`organization\`, are names as people gave them; \`app_id\` is the guid. What instances use is measured every ten seconds. Counters
begin at zero when the platform's process starts anew.

| name | type | labels | what it says |
| --- | --- | --- | --- |
`;

export function metricsPage(): string {
  const row = ({ name, type, labels, help }: MetricDescription): string =>
    `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |\n`;
  return INTRODUCTION + Object.values(CATALOGUE).map(row).join('');
}

if (import.meta.main) writeFileSync(join(import.meta.dirname, '..', 'docs', 'reference', 'metrics.md'), metricsPage());
