/** The bus's client: see `bus.ts`. Reconnects for ever; the library is loaded when it is first needed. */
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection, Subscription } from '@nats-io/transport-node';
import type { Bus, BusRole } from './bus.ts';

export interface BusOptions {
  port: number;
  role: BusRole;
  password: string;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface BusConnection extends Bus {
  /** Resolves when there is no connection, now or later; or when the signal is aborted. */
  lost(signal: AbortSignal): Promise<void>;
}

const FIRST_WAIT = 50;
const LAST_WAIT = 5000;

interface Listening {
  subject: string;
  listener: (message: unknown) => void;
  subscription?: Subscription | undefined;
}

export function connectBus(options: BusOptions): BusConnection {
  let connection: NatsConnection | undefined;
  let change = Promise.withResolvers<void>();
  const stop = new AbortController();
  const listening = new Set<Listening>();
  const connectedListeners = new Set<() => void>();

  const changed = (now: NatsConnection | undefined): void => {
    connection = now;
    change.resolve();
    change = Promise.withResolvers();
    if (now === undefined) return;
    for (const one of listening) subscribeOn(now, one);
    for (const listener of connectedListeners) listener();
  };

  const run = async (): Promise<void> => {
    const { connect } = await import('@nats-io/transport-node');
    for (let wait = FIRST_WAIT; !stop.signal.aborted; wait = Math.min(LAST_WAIT, wait * 2)) {
      try {
        const made = await connect({
          servers: `127.0.0.1:${options.port}`,
          name: options.role,
          user: options.role,
          pass: options.password,
          // A connection that is made anew keeps no messages of before; the library's own would.
          reconnect: false,
          timeout: 10_000,
        });
        if (stop.signal.aborted) await made.close();
        else {
          wait = FIRST_WAIT;
          changed(made);
          await made.closed();
          changed(undefined);
        }
      } catch (error) {
        // Not there yet, or not any more.
        if (wait === LAST_WAIT) options.log('info', 'The message bus is not reached', { error: String(error) });
      }
      await delay(wait, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  };
  const running = run().catch((error: unknown) =>
    options.log('error', 'The message bus is not used any more', { error: String(error) }),
  );

  return {
    get connected() {
      return connection !== undefined;
    },
    publish(subject, message) {
      if (connection === undefined || connection.isClosed()) return false;
      connection.publish(subject, message === undefined ? '' : JSON.stringify(message));
      return true;
    },
    subscribe(subject, listener) {
      const one: Listening = { subject, listener };
      listening.add(one);
      if (connection !== undefined) subscribeOn(connection, one);
      return () => {
        listening.delete(one);
        one.subscription?.unsubscribe();
      };
    },
    onConnected(listener) {
      connectedListeners.add(listener);
      if (connection !== undefined) listener();
      return () => connectedListeners.delete(listener);
    },
    async lost(signal) {
      const aborted = Promise.withResolvers<void>();
      const end = (): void => aborted.resolve();
      signal.addEventListener('abort', end, { once: true });
      while (connection !== undefined && !signal.aborted) await Promise.race([change.promise, aborted.promise]);
      signal.removeEventListener('abort', end);
    },
    async close() {
      stop.abort();
      await connection?.close();
      await running;
    },
  };
}

function subscribeOn(connection: NatsConnection, one: Listening): void {
  one.subscription = connection.subscribe(one.subject, {
    callback: (error, message) => {
      // Refused, or ended with its connection.
      if (error !== null) return;
      const parsed = parse(message.data);
      if (parsed !== undefined) one.listener(parsed.value);
    },
  });
}

function parse(data: Uint8Array): { value: unknown } | undefined {
  if (data.length === 0) return { value: undefined };
  try {
    return { value: JSON.parse(Buffer.from(data).toString()) };
  } catch {
    // Not of ours.
    return undefined;
  }
}
