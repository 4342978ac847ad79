/** Audit events: one object each, in the namespace of its space, kept 31 days and at most `BOUND` of them. */
import { randomUUID } from 'node:crypto';
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AuditEvent } from '../resources/event-types.ts';
import { labels, type Space, systemNamespace } from '../resources/types.ts';
import type { Identity } from '../uaa/uaa.ts';
import { createdAt, type Records } from './records.ts';

const KEEP_MILLISECONDS = 31 * 24 * 3600 * 1000;
const BOUND = 10_000;

export interface AuditEntry {
  /** `audit.app.create` … */
  type: string;
  actor: Identity | { guid: string; type: string; name: string };
  target: { guid: string; type: string; name: string };
  space?: Stored<Space>;
  organization?: string;
  data?: Record<string, unknown>;
  /** Makes the event happen once: a second one with the same key is dropped. */
  key?: string;
}

export class Audit {
  readonly #records: Records;
  readonly #log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;

  constructor(
    records: Records,
    log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void,
  ) {
    this.#records = records;
    this.#log = log;
  }

  /** Resolves when it is written. A failure is logged: what the event tells of has happened already. */
  async record(entry: AuditEntry): Promise<void> {
    const { actor, space } = entry;
    const spec: AuditEvent['spec'] = {
      type: entry.type,
      actor: 'userId' in actor ? { guid: actor.userId, type: 'user', name: actor.userName } : actor,
      target: entry.target,
      ...(space ? { space: space.metadata.name } : {}),
      ...((space?.spec.organization ?? entry.organization)
        ? { organization: space?.spec.organization ?? entry.organization }
        : {}),
      data: entry.data ?? {},
      createdAt: new Date().toISOString(),
    } as AuditEvent['spec'];
    try {
      await this.#records.auditEvents.create({
        metadata: {
          name: entry.key ?? randomUUID(),
          namespace: space?.spec.namespace ?? systemNamespace,
          labels: entry.target.type === 'app' ? { [labels.app]: entry.target.guid } : {},
        },
        spec,
      });
    } catch (error) {
      if (error instanceof ApiError && error.reason === 'AlreadyExists') return;
      this.#log('warn', 'An audit event could not be written', { type: entry.type, target: entry.target.guid, error });
    }
  }

  /** Removes what is too old or too many; run now and then. */
  async sweep(now: number): Promise<void> {
    const events = this.#records.auditEvents.all().sort((a, b) => (createdAt(a) < createdAt(b) ? 1 : -1));
    for (const [position, event] of events.entries()) {
      if (position < BOUND && now - Date.parse(createdAt(event)) < KEEP_MILLISECONDS) continue;
      await this.#records.auditEvents.delete(event.metadata.name);
    }
  }
}
