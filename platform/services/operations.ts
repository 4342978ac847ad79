/**
 * Takes a request one step further: see `services.ts`. What the request is about, and what its steps are, is a `Course`; here is
 * what all of them have in common.
 */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { CloudFoundryErrorTitle } from '../cloud-controller/errors.ts';
import type { Collection } from '../cloud-controller/records.ts';
import type { BrokerOperation, BrokerRequest, ServiceOrphan } from '../resources/service-types.ts';
import type { Progress } from './answers.ts';
import type { ServicesContext } from './context.ts';
import { noteOrphan, orphanOf } from './orphans.ts';
import { removeParameters } from './secrets.ts';
import { BrokerError } from './services.ts';

export interface Operated extends ClientObject {
  spec: { request?: BrokerRequest };
  status?: { operation?: BrokerOperation };
}

/** What came of one step. `status`: what is known now of the object besides. */
export type Step =
  | { state: 'succeeded'; description?: string; status?: object; warnings?: string[] }
  | { state: 'in progress'; description?: string; status?: object; operation?: string; retryAfter?: number }
  | { state: 'failed'; description: string; title?: CloudFoundryErrorTitle; orphan?: boolean }
  /** Something else comes first; a change of it wakes this one. */
  | { state: 'waiting' }
  /** It was deleted, and its object may go. */
  | { state: 'gone' };

export interface Course<T extends Operated> {
  collection: Collection<T>;
  /** How long the broker may be at it. */
  longestSeconds(object: Stored<T>): number;
  /** Asks the broker. @param again  it may have been asked before, by a process that died. @throws BrokerError */
  ask(object: Stored<T>, request: BrokerRequest, again: boolean): Promise<Step>;
  /** Asks how far it is. */
  poll?(object: Stored<T>, request: BrokerRequest, operation: BrokerOperation): Promise<Step>;
  /** Before success is told: what makes it true. May be done twice. */
  succeed?(object: Stored<T>, request: BrokerRequest): Promise<void>;
  /** After a failure was told. May be not done at all. */
  fail?(object: Stored<T>, request: BrokerRequest): Promise<void>;
  /** When nothing of the request is needed any more. May be not done at all. */
  forget?(request: BrokerRequest): Promise<void>;
  /** Takes the object away. */
  remove(object: Stored<T>, request: BrokerRequest): Promise<void>;
  /** For the job: what failed, in Cloud Foundry's words. */
  verb(request: BrokerRequest): string;
  /** The audit event of a request; `start` when the broker is at it. */
  tell(object: Stored<T>, request: BrokerRequest, what: 'start' | 'end'): Promise<void>;
  /** What the broker may have made of a creation. */
  orphan(object: Stored<T>): ServiceOrphan['spec'] | undefined;
}

const LONGEST_POLL_SECONDS = 60;
const LONGEST_SECONDS = 7 * 24 * 3600;
/** What is waited for tells when it is there; this is for what went unheard. */
const WAITING_MILLISECONDS = 10_000;

/** Has what was asked for not ended? */
export function isUnderWay(object: Operated): boolean {
  const { request } = object.spec;
  if (!request) return false;
  const operation = object.status?.operation;
  return operation?.request !== request.id || operation.phase !== 'ended';
}

/** Resolves to when it wants to be looked at again, in milliseconds; undefined: when it changes. */
export async function advance<T extends Operated>(
  context: ServicesContext,
  course: Course<T>,
  guid: string,
): Promise<number | undefined> {
  const object = course.collection.get(guid);
  const request = object?.spec.request;
  if (!object || !request || !isUnderWay(object)) return undefined;
  const { operation } = object.status ?? {};
  const isKnown = operation?.request === request.id;
  const now = isKnown ? operation : begun(context, course, object, request);
  if (!isKnown) await write(course, guid, request, now, {});
  const wait = now.phase === 'accepted' ? Date.parse(now.pollAt ?? '') - context.now() : 0;
  if (wait > 0) return wait;
  const step = await stepOf(context, course, { object, request, operation: now, again: isKnown });
  return settle(context, course, { object, request, operation: now }, step);
}

interface Run<T extends Operated> {
  object: Stored<T>;
  request: BrokerRequest;
  operation: BrokerOperation;
}

function begun<T extends Operated>(
  context: ServicesContext,
  course: Course<T>,
  object: Stored<T>,
  request: BrokerRequest,
): BrokerOperation {
  const seconds = Math.min(LONGEST_SECONDS, course.longestSeconds(object));
  return {
    request: request.id,
    type: request.type,
    state: 'in progress',
    description: '',
    phase: 'asked',
    updatedAt: new Date(context.now()).toISOString(),
    until: new Date(context.now() + seconds * 1000).toISOString(),
  };
}

async function stepOf<T extends Operated>(
  context: ServicesContext,
  course: Course<T>,
  { object, request, operation, again }: Run<T> & { again: boolean },
): Promise<Step> {
  const isLate = operation.phase === 'accepted' && context.now() >= Date.parse(operation.until);
  if (isLate) {
    const description = `Service Broker failed to ${course.verb(request)} within the required time.`;
    return { state: 'failed', description, orphan: request.type === 'create' };
  }
  try {
    if (operation.phase === 'accepted') {
      return (await course.poll?.(object, request, operation)) ?? { state: 'in progress' };
    }
    if (again && orphanOf(context, request)) {
      return { state: 'failed', description: 'The platform was restarted while the service broker was asked' };
    }
    return await course.ask(object, request, again);
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    // While it is at it, no answer is none: it is asked again.
    if (operation.phase === 'accepted') return { state: 'in progress' };
    // Who was asked before and says that it is there already has something that nobody has seen.
    const orphan = error.orphan || (again && error.title === 'ServiceBrokerConflict');
    return { state: 'failed', description: error.message, title: error.title, orphan };
  }
}

async function settle<T extends Operated>(
  context: ServicesContext,
  course: Course<T>,
  run: Run<T>,
  step: Step,
): Promise<number | undefined> {
  const { object, request, operation } = run;
  const guid = object.metadata.name;
  if (step.state === 'waiting') return WAITING_MILLISECONDS;
  const at = { updatedAt: new Date(context.now()).toISOString() };
  if (step.state === 'in progress') {
    const next = polled(context, operation, step);
    if (await write(course, guid, request, { ...next, ...at }, step.status ?? {})) {
      if (operation.phase === 'asked') await course.tell(object, request, 'start');
    }
    return Math.max(0, Date.parse(next.pollAt ?? '') - context.now());
  }
  if (step.state === 'gone') {
    await course.tell(object, request, 'end');
    await course.remove(object, request);
  } else {
    const { description = '' } = step;
    const { error: _error, pollAt: _pollAt, pollSeconds: _pollSeconds, ...kept } = operation;
    const ended: BrokerOperation = { ...kept, ...at, state: step.state, description, phase: 'ended' };
    if (step.state === 'failed') {
      if (step.orphan && request.type === 'create') await orphaned(context, course, run, description);
      ended.error = jobError(course, request, step);
      if (await write(course, guid, request, ended, {})) await course.fail?.(object, request);
    } else {
      if (step.warnings) ended.warnings = step.warnings;
      await course.succeed?.(object, request);
      if (await write(course, guid, request, ended, step.status ?? {})) await course.tell(object, request, 'end');
    }
  }
  await removeParameters(context.client, request);
  await course.forget?.(request);
  return undefined;
}

async function orphaned<T extends Operated>(
  context: ServicesContext,
  course: Course<T>,
  { object, request }: Run<T>,
  reason: string,
): Promise<void> {
  const spec = course.orphan(object);
  if (spec) await noteOrphan(context, request, { ...spec, reason });
}

function jobError<T extends Operated>(
  course: Course<T>,
  request: BrokerRequest,
  step: Step & { state: 'failed' },
): { title: CloudFoundryErrorTitle; detail: string } {
  const verb = course.verb(request);
  // Brokers' own jobs say what is wrong with the broker; the others say what could not be done.
  if (verb === 'synchronize') return { title: step.title ?? 'UnknownError', detail: step.description };
  return { title: 'UnableToPerform', detail: `${verb} could not be completed: ${step.description}` };
}

function polled(
  context: ServicesContext,
  before: BrokerOperation,
  step: Step & { state: 'in progress' },
): BrokerOperation {
  const pollSeconds = Math.min(LONGEST_POLL_SECONDS, (before.pollSeconds ?? 0) * 1.5 || 1);
  const next = context.now() + (step.retryAfter ?? pollSeconds) * 1000;
  const description = step.description ?? before.description;
  return {
    ...before,
    description,
    phase: 'accepted',
    ...(step.operation === undefined ? {} : { brokerOperation: step.operation }),
    pollSeconds,
    pollAt: new Date(Math.min(next, Date.parse(before.until))).toISOString(),
  };
}

/** False where the request is not the object's any more. */
async function write<T extends Operated>(
  course: Course<T>,
  guid: string,
  request: BrokerRequest,
  operation: BrokerOperation,
  status: object,
): Promise<boolean> {
  if (!course.collection.get(guid)) return false;
  let isOurs = false;
  await course.collection.modifyStatus(guid, (current) => {
    isOurs = current.spec.request?.id === request.id;
    return isOurs ? { ...current, status: { ...current.status, ...status, operation } } : undefined;
  });
  return isOurs;
}

/** What a poll's answer is as a step, but for success. */
export function stepOfProgress(progress: Progress, request: BrokerRequest): Step | undefined {
  const { state, description, retryAfter } = progress;
  if (state === 'gone' && request.type === 'delete') return { state: 'gone' };
  if (state === 'failed') {
    return { state: 'failed', description: description ?? '', orphan: request.type === 'create' };
  }
  if (state === 'succeeded') return request.type === 'delete' ? { state: 'gone' } : undefined;
  return {
    state: 'in progress',
    ...(description === undefined ? {} : { description }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  };
}

/** Was it created, and is nobody taking it away? What has no request was made at once. */
export function isBound(object: Operated): boolean {
  const { request } = object.spec;
  if (!request) return true;
  const operation = object.status?.operation;
  return request.type === 'create' && operation?.request === request.id && operation.state === 'succeeded';
}
