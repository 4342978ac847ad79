/**
 * The probes of one running container: startup first, then liveness and readiness beside each other.
 *
 * An extension of Kubernetes: until a startup or readiness probe has succeeded once, it is asked much more often than
 * every `periodSeconds`, so that a pod is Ready within milliseconds of listening: the pause is a twentieth of the time
 * since the start, between 10 and 250 ms (250 ms to a period for commands), for the first minute. These early failures
 * count for no threshold and make no event; those at the period's pace do, as ever. `initialDelaySeconds` is obeyed.
 */
import { timerOf } from '#lib/longest-timer.ts';
import type { Container, Probe } from '../kinds/types/core.ts';
import type { CheckResult } from './probe-check.ts';

export type ProbeKind = 'startup' | 'liveness' | 'readiness';

export interface ProbeOptions {
  definition: Container;
  /** When the container started, milliseconds since the epoch. */
  startedAt: number;
  /** What was known before the agent was restarted. */
  known: { started: boolean; ready: boolean };
  check: (probe: Probe, timeout: number, signal: AbortSignal) => Promise<CheckResult>;
  /** `started` or `ready` changed. */
  onChange: () => void;
  /** The container is to be restarted. */
  onCondemned: (kind: 'startup' | 'liveness') => void;
  /** A failure that counts. */
  onFailure: (kind: ProbeKind, message: string) => void;
}

export interface ContainerProbes {
  readonly started: boolean;
  readonly ready: boolean;
  close(): void;
}

const eagerFor = 60_000;

export function startProbes(options: ProbeOptions): ContainerProbes {
  const { startupProbe, livenessProbe, readinessProbe } = options.definition;
  const abort = new AbortController();
  const state = {
    started: !startupProbe || options.known.started,
    ready: !readinessProbe || options.known.ready,
  };
  const begin = (): void => {
    if (livenessProbe) {
      run(options, 'liveness', livenessProbe, true, abort.signal, (ok) => {
        if (!ok) options.onCondemned('liveness');
        return ok;
      });
    }
    if (readinessProbe) {
      run(options, 'readiness', readinessProbe, state.ready, abort.signal, (ok) => {
        if (state.ready !== ok) {
          state.ready = ok;
          options.onChange();
        }
        return true;
      });
    }
  };
  if (state.started) begin();
  else if (startupProbe) {
    run(options, 'startup', startupProbe, false, abort.signal, (ok) => {
      if (!ok) options.onCondemned('startup');
      else {
        state.started = true;
        options.onChange();
        begin();
      }
      return false;
    });
  }
  return {
    get started() {
      return state.started;
    },
    get ready() {
      return state.ready;
    },
    close: () => abort.abort(),
  };
}

/** `decide` hears of each time that a threshold is reached, and returns whether to go on. */
function run(
  options: ProbeOptions,
  kind: ProbeKind,
  probe: Probe,
  settled: boolean,
  signal: AbortSignal,
  decide: (ok: boolean) => boolean,
): void {
  const period = Math.max(1, probe.periodSeconds ?? 10) * 1000;
  const timeout = Math.max(1, probe.timeoutSeconds ?? 1) * 1000;
  let timer: NodeJS.Timeout | undefined;
  let eager = !settled && kind !== 'liveness';
  let successes = 0;
  let failures = 0;
  const initialDelay = (probe.initialDelaySeconds ?? 0) * 1000;
  // From here on a clock counts that nobody sets; one that was set back since the container started makes nobody wait for longer.
  const due = performance.now() + Math.min(initialDelay, options.startedAt + initialDelay - Date.now());
  // The first failure that counts comes a period after the first attempt, but for those that are not asked eagerly.
  let counted = eager ? Math.max(performance.now(), due) : Number.NEGATIVE_INFINITY;

  const attempt = async (): Promise<void> => {
    const { ok, message } = await options.check(probe, timeout, signal);
    if (signal.aborted) return;
    const now = performance.now();
    if (ok) {
      failures = 0;
      successes += 1;
      eager = false;
      if (successes >= (probe.successThreshold ?? 1) && !decide(true)) return;
    } else {
      successes = 0;
      if (!eager || now - counted >= period) {
        counted = now;
        failures += 1;
        options.onFailure(kind, message);
        if (failures >= (probe.failureThreshold ?? 3) && !decide(false)) return;
      }
    }
    schedule(eager ? eagerPause(probe, now - due, period) : period);
  };
  const schedule = (delay: number): void => {
    timer = setTimeout(() => void attempt(), timerOf(delay));
  };
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  // A liveness probe may wait for its first period: nothing is gained by asking at once.
  const first = Math.max(0, due - performance.now());
  schedule(kind === 'liveness' ? Math.max(first, Math.min(period, 1000)) : first);
}

export function eagerPause(probe: Probe, elapsed: number, period: number): number {
  if (elapsed > eagerFor) return period;
  if (probe.exec) return Math.min(period, Math.max(250, elapsed / 2));
  return Math.min(period, 250, Math.max(10, elapsed / 20));
}
