/**
 * A controller's contract. Each is level-triggered: `reconcile` gets a key, looks at what is desired and what is there,
 * and takes the next step; it takes no event as its input, may run any number of times, and may be killed anywhere.
 * It is woken by changes of what it watches and by a slow period (default 10 min) that mends what a lost signal left.
 * `run.ts` gives each a queue: one key is never reconciled twice at the same time, a failure is tried again with
 * exponential back-off (5 ms doubling to 1,000 s) and is logged with its cause.
 */
import type { Client } from '../client/client.ts';

export interface ControllerContext {
  client: Client;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  /** The time in milliseconds; tests may turn it. */
  now: () => number;
}

export interface Controller {
  name: string;
  /** How many keys at once; default 4. */
  workers?: number;
  /** Opens informers and calls `enqueue(key)` whenever something that matters to a key changed. */
  start(context: ControllerContext, enqueue: (key: string, afterMilliseconds?: number) => void): Promise<void>;
  /** All keys that there are now, for the slow period. Without it there is none. */
  keys?(): Iterable<string>;
  reconcile(key: string, context: ControllerContext): Promise<void>;
}
