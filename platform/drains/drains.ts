/**
 * Syslog drains: an app that is bound to a service instance with a `syslog_drain_url` has its log sent there, line by line, as RFC 5424
 * has it and Cloud Foundry's syslog agent sends it (`rfc5424.ts`).
 *
 *   syslog://HOST:PORT       TCP, each message behind its length (RFC 6587, octet counting)
 *   syslog-tls://HOST:PORT   the same over TLS (RFC 5425)
 *   https://HOST/PATH        a POST for each message
 *
 * The instance's credentials may have `ca`, and `cert` with `key`, in PEM: whom to trust, and who the platform is.
 *
 * A drain never holds up an app or another drain. What it does not take waits, up to a bound; beyond it lines are dropped, counted,
 * and said in the app's log, as is why it cannot be reached. It is tried again for ever, every 15 s at last. What was sent over TCP
 * is not confirmed by anybody: a connection that breaks may lose what was on its way. Drains begin with the binding, and after a start of
 * the platform with what comes then.
 *
 * A drain reaches no address of the platform: neither the host by itself, nor pods, services and nodes, unless it is allowed.
 */
import type { LogEnvelope } from '../logs/logs.ts';

/** Where a log goes, and as whom. */
export interface Target {
  url: URL;
  tls: { ca?: string; cert?: string; key?: string };
}

/** What carries messages to one target. */
export interface Sender {
  /** How many messages at most are to be given at once. */
  readonly batch: number;
  /** Resolves when they have left, in order; rejects with why not. After that none of them counts as sent. */
  send(messages: readonly Buffer[]): Promise<void>;
  close(): void;
}

export interface DrainStatus {
  app: string;
  /** Without what is secret in it. */
  target: string;
  sent: number;
  dropped: number;
  waiting: number;
  /** Why it is not reached now. */
  error: string | undefined;
}

export interface Drains {
  status(): DrainStatus[];
  close(): Promise<void>;
}

export type Format = (envelope: LogEnvelope) => Buffer;
