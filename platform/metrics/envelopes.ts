/**
 * Envelopes of measurements, as Cloud Foundry's log cache has them beside those of logs (loggregator's `Envelope`, version 2): by
 * source a ring for each kind, so that many requests push no gauge out.
 */
import { byTime } from '../time.ts';

export interface MetricEnvelope {
  /** Nanoseconds since the epoch, 19 digits. */
  timestamp: string;
  sourceId: string;
  instanceId: string;
  tags: Record<string, string>;
  message: MetricMessage;
}

export type MetricMessage =
  | { type: 'GAUGE'; metrics: Record<string, { unit: string; value: number }> }
  /** Nanoseconds since the epoch. */
  | { type: 'TIMER'; name: string; start: string; stop: string }
  | { type: 'COUNTER'; name: string; delta: number; total: number };

export const MOST_ENVELOPES = 1000;

type Kind = MetricMessage['type'];

export class EnvelopeRings {
  readonly #sources = new Map<string, Map<Kind, MetricEnvelope[]>>();

  add(envelope: MetricEnvelope): void {
    let kinds = this.#sources.get(envelope.sourceId);
    if (kinds === undefined) this.#sources.set(envelope.sourceId, (kinds = new Map()));
    const ring = kinds.get(envelope.message.type) ?? [];
    kinds.set(envelope.message.type, ring);
    ring.push(envelope);
    // In one step now and then: taking the first of a long list away each time moves all of it.
    if (ring.length >= MOST_ENVELOPES * 2) ring.splice(0, ring.length - MOST_ENVELOPES);
  }

  /** Oldest first. */
  of(sourceId: string): MetricEnvelope[] {
    const kinds = this.#sources.get(sourceId);
    if (kinds === undefined) return [];
    const all = [...kinds.values()].flatMap((ring) => ring.slice(-MOST_ENVELOPES));
    return all.sort(byTime);
  }

  sources(): string[] {
    return [...this.#sources.keys()];
  }

  forget(sourceId: string): void {
    this.#sources.delete(sourceId);
  }
}
