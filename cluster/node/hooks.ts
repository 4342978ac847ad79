/** Runs a container's `postStart` and `preStop`. */
import { setTimeout as delay } from 'node:timers/promises';
import { timerOf } from '#lib/longest-timer.ts';
import type { LifecycleHandler } from '../kinds/types/core.ts';
import { type CheckResult, type CheckTarget, check } from './probe-check.ts';

/** Resolves with how it went; a hook that takes longer than `timeout` (milliseconds) failed. */
export async function runHook(
  handler: LifecycleHandler,
  target: CheckTarget,
  timeout: number,
  signal?: AbortSignal,
): Promise<CheckResult> {
  if (handler.sleep) {
    const wanted = handler.sleep.seconds * 1000;
    await delay(timerOf(Math.min(wanted, timeout)), undefined, signal ? { signal } : {}).catch(() => undefined);
    return { ok: wanted <= timeout, message: `slept ${handler.sleep.seconds} s` };
  }
  return check(handler, target, timeout, signal);
}
