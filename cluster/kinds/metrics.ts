/**
 * NodeMetrics and PodMetrics of metrics.k8s.io: what nodes and pods use at the moment. Columns are worded as those of
 * metrics-server, which serves this API elsewhere.
 */
import { formatAmount, parseAmount, plus, ZERO } from './amount.ts';
import { nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { PrinterColumn } from './kind.ts';
import { nodeMetrics, podMetrics } from './resources.ts';
import { QUANTITY, type Schema } from './schema.ts';
import type { NodeMetrics, PodMetrics, ResourceUsage } from './types/metrics.ts';

const SCHEMAS = 'io.k8s.metrics.pkg.apis.metrics.v1beta1';

const usageSchema: Schema = { type: 'object', additionalProperties: { $ref: `#/definitions/${QUANTITY}` } };
const commonFields: Record<string, Schema> = {
  timestamp: { type: 'string', format: 'date-time' },
  window: { type: 'string' },
};

function resourceColumn(name: keyof ResourceUsage, usagesOf: (object: object) => ResourceUsage[]): PrinterColumn {
  return {
    name,
    type: 'string',
    format: 'quantity',
    description: '',
    priority: 0,
    value: (object) => formatAmount(usagesOf(object).reduce((sum, usage) => plus(sum, parseAmount(usage[name])), ZERO)),
  };
}

function columns(usagesOf: (object: object) => ResourceUsage[]): PrinterColumn[] {
  return [
    nameColumn,
    resourceColumn('cpu', usagesOf),
    resourceColumn('memory', usagesOf),
    {
      name: 'Window',
      type: 'string',
      format: 'duration',
      description: '',
      priority: 0,
      value: (object) => String(object['window']),
    },
  ];
}

const common = { computed: true, singular: '', verbs: ['get', 'list'] };

export const nodeMetricsKind = defineKind(nodeMetrics, {
  ...common,
  schemaName: `${SCHEMAS}.NodeMetrics`,
  schema: { type: 'object', properties: { ...commonFields, usage: usageSchema } },
  columns: columns((object) => [(object as NodeMetrics).usage]),
});

export const podMetricsKind = defineKind(podMetrics, {
  ...common,
  schemaName: `${SCHEMAS}.PodMetrics`,
  schema: {
    type: 'object',
    properties: {
      ...commonFields,
      containers: {
        type: 'array',
        items: { type: 'object', properties: { name: { type: 'string' }, usage: usageSchema } },
      },
    },
  },
  columns: columns((object) => (object as PodMetrics).containers.map(({ usage }) => usage)),
});
