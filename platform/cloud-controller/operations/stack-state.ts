/**
 * How far the stack may be used, as an administrator has said (`cf update-stack`): by everybody; with a warning (`DEPRECATED`); by apps that
 * were built on it before (`RESTRICTED`), with a warning; for no build at all (`DISABLED`). What runs is never touched.
 */
import { nameGuid } from '#lib/name-guid.ts';
import type { App, CatalogEntry } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';

type Known = Pick<Context, 'records' | 'defaults'>;
type State = NonNullable<CatalogEntry['spec']['state']>;

export const STACK_STATES: readonly State[] = ['ACTIVE', 'RESTRICTED', 'DEPRECATED', 'DISABLED'];

/** The same for the same name. */
export function stackGuid(name: string): string {
  return nameGuid(`stack\n${name}`);
}

export function stackState({ records, defaults }: Known): { state: State; reason?: string } {
  const { state = 'ACTIVE', stateReason } = records.catalogEntries.get(stackGuid(defaults.stack))?.spec ?? {};
  return { state, ...(stateReason && { reason: stateReason }) };
}

/** @returns what its builder is to be told. @throws CloudFoundryError where it may not be built on the stack */
export function requireStack(context: Known, lifecycle: App['spec']['lifecycle'], isNew: boolean): string | undefined {
  const { state, reason } = stackState(context);
  if (lifecycle.type === 'docker' || state === 'ACTIVE') return undefined;
  const which = `The stack '${lifecycle.stack}' is '${state}'`;
  const why = reason === undefined ? '' : ` ${reason}`;
  if (state === 'DISABLED' || (state === 'RESTRICTED' && isNew)) {
    throw unprocessable(`ERROR: Staging failed. ${which} and cannot be used for staging.${why}`);
  }
  return `WARNING: ${which} and will be removed in the future.${why}`;
}

/** As clients show it beside an answer. */
export function warningHeaders(warning: string | undefined): Record<string, string> {
  return warning === undefined ? {} : { 'x-cf-warnings': encodeURIComponent(warning) };
}
