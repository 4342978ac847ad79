/**
 * One of several processes does the work: the one that holds a Lease (Kubernetes, "Leases", "Leader election"), and renews it.
 *
 * The others are told by their watch when it is given up, and take it when it was not renewed for its duration, by their own
 * clock: clocks of hosts are not compared. Who cannot renew in time stops its work before others may begin. Who was killed and
 * comes again under its old identity goes on at once: nobody else can hold what is still its own.
 */
import { leases } from '../kinds/resources.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Lease, LeaseSpec } from '../kinds/types/coordination.ts';
import { ApiError, type Client } from './client.ts';
import { createInformer } from './informer.ts';

export interface LeaderElectionOptions {
  client: Client;
  /** Of the Lease, in `kube-system`: `kube-scheduler`. */
  name: string;
  /** Of this process, different from that of every other that may run at the same time; kept over its restarts. */
  identity: string;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  /** Milliseconds; default 15,000. */
  leaseDuration?: number;
}

/** Begun by the leader. Its signal is aborted when the lease was lost: it must end as fast as it can. */
export type Work = (signal: AbortSignal) => Promise<{ close(): Promise<void> }>;

export interface LeaderElection {
  /** Resolves when this process leads for the first time and its work has begun. */
  readonly began: Promise<void>;
  /** Resolves when closed; rejects when the work could not begin: nothing is done here any more then. */
  readonly ended: Promise<void>;
  /** Ends the work, then gives the lease up. */
  close(): Promise<void>;
}

const namespace = 'kube-system';

/** Kubernetes' MicroTime. */
function microTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace('Z', '000Z');
}

export function leadWith(options: LeaderElectionOptions, work: Work): LeaderElection {
  const { client, name, identity, signal, log, leaseDuration = 15_000 } = options;
  const renewPeriod = leaseDuration / 3;
  /** Less than the duration: the work has ended before another begins. */
  const renewDeadline = (leaseDuration * 2) / 3;
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const began = Promise.withResolvers<void>();
  began.promise.catch(() => undefined);
  const informer = createInformer(client, leases, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    onError: (error) => log('warn', `leader election ${name}: ${String(error)}`),
  });
  let seen: { version: string; at: number } | undefined;

  function observe(lease: Stored<Lease> | undefined): void {
    const version = lease?.metadata.resourceVersion ?? '';
    if (seen?.version !== version) seen = { version, at: performance.now() };
  }

  /** Milliseconds until it may be taken; 0: now. */
  function heldFor({ spec }: Stored<Lease>): number {
    if (!spec?.holderIdentity || spec.holderIdentity === identity) return 0;
    return Math.max(0, (seen?.at ?? 0) + (spec.leaseDurationSeconds ?? 0) * 1000 - performance.now());
  }

  function specFrom(old: LeaseSpec | undefined): LeaseSpec {
    const now = microTime(Date.now());
    const isOurs = old?.holderIdentity === identity;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDuration / 1000),
      acquireTime: isOurs ? (old.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (old?.leaseTransitions ?? 0) + (old === undefined || isOurs ? 0 : 1),
    };
  }

  /** The lease is ours now, as of this call. Throws when another was faster. */
  async function take(): Promise<void> {
    const lease = informer.get(name, namespace);
    const spec = specFrom(lease?.spec);
    const taken = lease
      ? await client.update(leases, { ...lease, spec })
      : await client.create(leases, { metadata: { name, namespace }, spec });
    await informer.reached(taken.metadata.resourceVersion, ended);
  }

  async function acquire(): Promise<void> {
    for (;;) {
      ended.throwIfAborted();
      const lease = informer.get(name, namespace);
      const wait = lease === undefined ? 0 : heldFor(lease);
      if (wait === 0) {
        try {
          return await take();
        } catch (error) {
          const isLost = error instanceof ApiError && (error.code === 409 || error.code === 404);
          if (!isLost && !ended.aborted) log('warn', `leader election ${name}: ${String(error)}`);
        }
      }
      await changeOr(wait === 0 ? renewPeriod : wait);
    }
  }

  /** Until the lease changes, or so long. */
  function changeOr(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        unlisten();
        ended.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      const unlisten = informer.onChange(done);
      ended.addEventListener('abort', done, { once: true });
      if (ended.aborted) done();
    });
  }

  /** Resolves when the lease could not be renewed in time, or was taken. */
  async function keep(): Promise<void> {
    let renewed = performance.now();
    for (;;) {
      await pause(Math.min(renewPeriod, Math.max(1, renewed + renewDeadline - performance.now())));
      if (ended.aborted) return;
      const began = performance.now();
      try {
        if (informer.get(name, namespace)?.spec?.holderIdentity !== identity) return;
        await withDeadline(take(), renewed + renewDeadline - began);
        renewed = began;
      } catch (error) {
        if (performance.now() >= renewed + renewDeadline) {
          log('warn', `leader election ${name}: the lease could not be renewed: ${String(error)}`);
          return;
        }
      }
    }
  }

  function pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        ended.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      ended.addEventListener('abort', done, { once: true });
    });
  }

  async function lead(): Promise<void> {
    const lost = new AbortController();
    // From the first moment on: to begin may take longer than the lease lasts.
    const kept = keep().finally(() => lost.abort());
    const running = await work(AbortSignal.any([ended, lost.signal]));
    began.resolve();
    await kept;
    await running.close();
  }

  async function giveUp(): Promise<void> {
    const lease = informer.get(name, namespace);
    if (lease?.spec?.holderIdentity !== identity) return;
    const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(Date.now()) };
    // Should it fail, the lease runs out by itself.
    await client.update(leases, { ...lease, spec }).catch(() => undefined);
  }

  async function run(): Promise<void> {
    await informer.synced;
    informer.onChange(observe);
    observe(informer.get(name, namespace));
    while (!ended.aborted) {
      await acquire();
      log('info', `leader election ${name}: leading`, { identity });
      await lead();
      if (!ended.aborted) log('warn', `leader election ${name}: no longer leading`, { identity });
    }
  }

  const running = run().catch((error: unknown) => {
    const wasAborted = ended.aborted;
    began.reject(error);
    stop.abort();
    if (!wasAborted) throw new Error(`the work of ${name} could not begin`, { cause: error });
  });
  running.catch(() => undefined);
  return {
    began: began.promise,
    ended: running,
    async close() {
      stop.abort();
      await Promise.allSettled([running]);
      await giveUp();
      informer.close();
    },
  };
}

async function withDeadline<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('no answer in time')), Math.max(1, milliseconds));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
