/** Envelopes in the JSON of the log cache's gateway: protobuf's, with the names of the `.proto` file. */
import type { MetricEnvelope, MetricMessage } from '../metrics/envelopes.ts';
import type { LogEnvelope } from './logs.ts';

export type Envelope = LogEnvelope | MetricEnvelope;

export function isLog(envelope: Envelope): envelope is LogEnvelope {
  return 'payload' in envelope;
}

export function present(envelope: Envelope): unknown {
  const common = {
    timestamp: plain(envelope.timestamp),
    source_id: envelope.sourceId,
    instance_id: envelope.instanceId,
    deprecated_tags: {},
  };
  if (!isLog(envelope)) return { ...common, tags: envelope.tags, ...presentMessage(envelope.message) };
  return {
    ...common,
    tags: { source_type: envelope.sourceType, instance_id: envelope.instanceId },
    log: { payload: envelope.payload.toString('base64'), type: envelope.type },
  };
}

function presentMessage(message: MetricMessage): Record<string, unknown> {
  if (message.type === 'GAUGE') return { gauge: { metrics: message.metrics } };
  const { name } = message;
  if (message.type === 'TIMER') return { timer: { name, start: plain(message.start), stop: plain(message.stop) } };
  return { counter: { name, delta: String(message.delta), total: String(message.total) } };
}

/** Numbers have no leading zeros in JSON's strings either. */
export function plain(time: string): string {
  return time.replace(/^0+(?=\d)/, '');
}
