/**
 * What a broker's answer means: by its status and its body, as the specification's chapters and its table of orphans have it, in
 * Cloud Foundry's words.
 *
 * | to provision or bind              | meaning                | orphan |
 * | --------------------------------- | ---------------------- | ------ |
 * | 200, 201                          | done                   |        |
 * | 200 with a body that is none      | failed                 | no     |
 * | 201, 202 with a body that is none | failed                 | yes    |
 * | 202                               | at it                  |        |
 * | any other 2xx                     | failed                 | yes    |
 * | 408, any other 4xx, 3xx           | refused                | no     |
 * | 5xx                               | failed                 | yes    |
 * | none (`transport.ts`)             | failed                 | where it may have been read |
 */
import type { CloudFoundryErrorTitle } from '../cloud-controller/errors.ts';
import { isObject, type Json, parseObject } from './json.ts';
import { BrokerError } from './services.ts';
import type { BrokerResponse } from './transport.ts';

export type Question = 'provision' | 'update' | 'deprovision' | 'bind' | 'unbind';

export interface Answer {
  /** It is at it. */
  accepted: boolean;
  operation?: string;
  body: Json;
  /** A body that says what cannot be is a failure that leaves an orphan. */
  orphan: boolean;
}

export interface Provisioned {
  dashboardUrl?: string;
  metadata?: Json;
}

export interface Bound {
  credentials: Json;
  syslogDrainUrl?: string;
  routeServiceUrl?: string;
  volumeMounts: Json[];
}

export interface Progress {
  /** `gone`: what was deleted is not there; `unclear`: it may say more the next time. */
  state: 'in progress' | 'succeeded' | 'failed' | 'gone' | 'unclear';
  description?: string;
  retryAfter?: number;
}

const LONGEST_OPERATION = 10_000;
const LONGEST_MESSAGE = 8 * 1024;
const MOST_CREDENTIALS = 64 * 1024;
const LONGEST_URL = 2048;

const MAKES = new Set<Question>(['provision', 'bind']);
/** What each is done with. */
const DONE: Record<Question, number[]> = {
  provision: [200, 201],
  bind: [200, 201],
  update: [200],
  deprovision: [200, 410],
  unbind: [200, 410],
};

/** @throws BrokerError when it is not what was asked for */
export function readAnswer(question: Question, response: BrokerResponse): Answer {
  const { status } = response;
  if (status === 410 && DONE[question].includes(410)) return { accepted: false, body: {}, orphan: false };
  if (status !== 202 && !DONE[question].includes(status)) throw refusal(question, response);
  const orphan = MAKES.has(question) && status !== 200;
  const body = bodyOf(response, orphan);
  if (status !== 202) return { accepted: false, body, orphan };
  const { operation } = body;
  if (operation === undefined || operation === null) return { accepted: true, body, orphan };
  if (typeof operation !== 'string' || operation.length > LONGEST_OPERATION) {
    throw malformed(`"operation" must be a string of at most ${LONGEST_OPERATION} characters`, orphan);
  }
  return { accepted: true, body, orphan, ...(operation === '' ? {} : { operation }) };
}

/** Of what was provisioned, updated or fetched. @throws BrokerError */
export function readProvisioned({ body, orphan }: Pick<Answer, 'body' | 'orphan'>): Provisioned {
  const { dashboard_url: dashboardUrl, metadata } = body;
  if (dashboardUrl !== undefined && dashboardUrl !== null && typeof dashboardUrl !== 'string') {
    throw malformed('"dashboard_url" must be a string', orphan);
  }
  if (metadata !== undefined && metadata !== null) {
    const parts = isObject(metadata) ? [metadata.labels, metadata.attributes] : [0];
    if (parts.some((part) => part !== undefined && !isObject(part))) {
      throw malformed('"metadata" must be an object with objects "labels" and "attributes"', orphan);
    }
    if (JSON.stringify(metadata).length > MOST_CREDENTIALS) throw malformed('"metadata" is too large', orphan);
  }
  return {
    ...(typeof dashboardUrl === 'string' && dashboardUrl.length <= LONGEST_URL ? { dashboardUrl } : {}),
    ...(isObject(metadata) ? { metadata } : {}),
  };
}

/** @param requires  of the offering: what it may do besides giving credentials. @throws BrokerError */
export function readBound({ body, orphan }: Pick<Answer, 'body' | 'orphan'>, requires: readonly string[]): Bound {
  const { credentials, syslog_drain_url: drain, route_service_url: route, volume_mounts: mounts } = body;
  if (credentials !== undefined && credentials !== null && !isObject(credentials)) {
    throw malformed('"credentials" must be an object', orphan);
  }
  if (isObject(credentials) && Buffer.byteLength(JSON.stringify(credentials)) > MOST_CREDENTIALS) {
    throw malformed(`"credentials" must be at most ${MOST_CREDENTIALS / 1024} KiB`, orphan);
  }
  const syslogDrainUrl = readUrl('syslog_drain_url', drain, orphan);
  if (syslogDrainUrl !== undefined && !requires.includes('syslog_drain')) {
    throw new BrokerError(
      'The service is attempting to stream logs from your application, but is not registered as a logging service. Please contact the service provider.',
      { title: 'InvalidLoggingServiceBinding', orphan },
    );
  }
  const routeServiceUrl = readUrl('route_service_url', route, orphan);
  if (routeServiceUrl !== undefined && !/^https:\/\//i.test(routeServiceUrl)) {
    throw malformed('"route_service_url" must begin with https://', orphan);
  }
  return {
    credentials: isObject(credentials) ? credentials : {},
    ...(syslogDrainUrl === undefined ? {} : { syslogDrainUrl }),
    ...(routeServiceUrl === undefined ? {} : { routeServiceUrl }),
    volumeMounts: readMounts(mounts, orphan),
  };
}

/** Nothing here mounts what a broker names: an app that is told of a volume and has none would find out too late. */
function readMounts(value: unknown, orphan: boolean): Json[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every(isObject)) throw malformed('"volume_mounts" must be an array', orphan);
  if (value.length === 0) return [];
  throw new BrokerError('Support for volume mount services is disabled', {
    title: 'VolumeMountServiceDisabled',
    orphan,
  });
}

function readUrl(field: string, value: unknown, orphan: boolean): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string' && value.length <= LONGEST_URL && URL.canParse(value)) return value;
  throw malformed(`"${field}" must be a URL of at most ${LONGEST_URL} characters`, orphan);
}

/** What `last_operation` says. Never throws: who asks goes on asking. */
export function readProgress(response: BrokerResponse): Progress {
  const { status, retryAfter } = response;
  const later = retryAfter === undefined ? {} : { retryAfter };
  if (status === 410) return { state: 'gone', ...later };
  const body = status === 200 ? parseObject(response.text ?? '') : undefined;
  const state = body?.state;
  if (state !== 'in progress' && state !== 'succeeded' && state !== 'failed') return { state: 'unclear', ...later };
  const { description } = body ?? {};
  return { state, ...(typeof description === 'string' ? { description: bounded(description) } : {}), ...later };
}

/** Of a GET on an instance or binding. @throws BrokerError */
export function readFetched(response: BrokerResponse): Json {
  if (response.status !== 200) throw refusal('update', response);
  const body = bodyOf(response, false);
  if (body.parameters !== undefined && body.parameters !== null && !isObject(body.parameters)) {
    throw malformed('"parameters" must be an object', false);
  }
  return body;
}

function bodyOf(response: BrokerResponse, orphan: boolean): Json {
  if (response.text === undefined) throw malformed('it is too large, or no text', orphan);
  const body = parseObject(response.text);
  if (!body) throw malformed('expected valid JSON object in body', orphan);
  return body;
}

function malformed(what: string, orphan: boolean): BrokerError {
  return new BrokerError(`The service broker returned an invalid response: ${what}`, {
    title: 'ServiceBrokerResponseMalformed',
    orphan,
  });
}

/** By `error` of a body with status 422. */
const REFUSALS: Record<string, [CloudFoundryErrorTitle, string]> = {
  AsyncRequired: [
    'ServiceBrokerAsyncRequired',
    'This service plan requires client support for asynchronous service operations.',
  ],
  ConcurrencyError: [
    'ServiceBrokerConcurrencyError',
    'The service broker could not perform this operation in parallel with other running operations',
  ],
  RequiresApp: ['AppRequired', 'This service supports generation of credentials through binding an application only.'],
  MaintenanceInfoConflict: [
    'MaintenanceInfoConflict',
    'The service broker did not provide a reason for this conflict, please ensure the catalog is up to date and you are providing a version supported by this service plan',
  ],
};

export function refusal(question: Question | 'catalog', response: BrokerResponse): BrokerError {
  const { status, reason, text = '' } = response;
  const made = (title: CloudFoundryErrorTitle, message: string, orphan = false) =>
    new BrokerError(bounded(message), { title, orphan });
  if (status === 401) {
    return made(
      'ServiceBrokerApiAuthenticationFailed',
      'Authentication with the service broker failed. Double-check that the username and password are correct.',
    );
  }
  if (status === 408) return made('ServiceBrokerApiTimeout', 'The request to the service broker timed out');
  const body = parseObject(text);
  const description = typeof body?.description === 'string' && body.description.trim() !== '' ? body.description : '';
  const told = `Service broker error: ${description}`;
  const name = status === 422 && typeof body?.error === 'string' ? body.error : '';
  const [title, words] = (Object.hasOwn(REFUSALS, name) ? REFUSALS[name] : undefined) ?? [];
  if (title && words) return made(title, title === 'MaintenanceInfoConflict' && description !== '' ? told : words);
  const orphan = question !== 'catalog' && MAKES.has(question) && (status >= 500 || (status >= 200 && status < 300));
  if (status === 409) return made('ServiceBrokerConflict', description === '' ? 'Resource conflict' : told);
  const known = status === 400 || status === 422 ? 'ServiceBrokerRequestRejected' : 'ServiceBrokerBadResponse';
  if (description !== '') return made(known, told, orphan);
  const start =
    known === 'ServiceBrokerBadResponse'
      ? 'The service broker returned an invalid response.'
      : 'The service broker rejected the request.';
  // What might be credentials is not repeated.
  const shown = status < 300 ? '' : `, Body: ${text}`;
  return made(known, `${start} Status Code: ${status} ${reason}${shown}`, orphan);
}

function bounded(message: string): string {
  if (message.length <= LONGEST_MESSAGE) return message;
  return `${message.slice(0, LONGEST_MESSAGE)}...This message has been truncated due to size. To read the full message, check the broker's logs`;
}
