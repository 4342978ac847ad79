/**
 * The options of lists and watches and which of them go together (API concepts, "Resource versions"). What does not is
 * refused with the errors of `ListOptions`, as upstream's.
 */
import type { FieldError } from '../kinds/field-error.ts';
import { forbidden, invalid, notSupported } from '../kinds/field-errors.ts';
import { badRequest, invalidObject } from './errors.ts';
import { isTrue } from './route.ts';

export interface ListOptions {
  /** Undefined where the newest is asked for, or any will do (`any`). */
  revision: number | undefined;
  /** resourceVersion "0": whatever is at hand. */
  any: boolean;
  match: 'Exact' | 'NotOlderThan' | undefined;
  /** Infinity where there is none. */
  limit: number;
  continueToken: string;
  bookmarks: boolean;
  /** A watch begins with what is there, then a bookmark that says so; absent, it depends on the resourceVersion. */
  sendInitial: boolean | undefined;
  timeoutSeconds: number | undefined;
}

const MATCHES = ['Exact', 'NotOlderThan'];

export function readListOptions(query: URLSearchParams, watching: boolean): ListOptions {
  const resourceVersion = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  const continueToken = query.get('continue') ?? '';
  const sendInitial = query.get('sendInitialEvents') ?? undefined;
  const errors = watching
    ? watchErrors(match, sendInitial, continueToken)
    : listErrors({ match, resourceVersion, continueToken, sendInitial });
  if (errors.length > 0) throw invalidObject({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', errors);
  if (resourceVersion !== '' && !/^\d{1,15}$/.test(resourceVersion))
    throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(resourceVersion)}: must be a whole number`);
  const revision = Number(resourceVersion);
  return {
    revision: revision === 0 ? undefined : revision,
    any: resourceVersion === '0',
    match: match === '' ? undefined : (match as ListOptions['match']),
    limit: wholeNumber(query, 'limit') || Number.POSITIVE_INFINITY,
    continueToken,
    bookmarks: isTrue(query.get('allowWatchBookmarks') ?? 'false'),
    sendInitial: sendInitial === undefined ? undefined : isTrue(sendInitial),
    timeoutSeconds: wholeNumber(query, 'timeoutSeconds') || undefined,
  };
}

function listErrors(given: {
  match: string;
  resourceVersion: string;
  continueToken: string;
  sendInitial: string | undefined;
}): FieldError[] {
  const { match, resourceVersion, continueToken, sendInitial } = given;
  const errors: FieldError[] = [];
  const refused = (text: string) => errors.push(forbidden('resourceVersionMatch', text));
  if (match !== '') {
    if (resourceVersion === '') refused('resourceVersionMatch is forbidden unless resourceVersion is provided');
    if (continueToken !== '') refused('resourceVersionMatch is forbidden when continue is provided');
    if (!MATCHES.includes(match)) errors.push(notSupported('resourceVersionMatch', match, [...MATCHES, '']));
    if (match === 'Exact' && resourceVersion === '0')
      refused('resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  }
  if (sendInitial !== undefined) errors.push(forbidden('sendInitialEvents', 'sendInitialEvents is forbidden for list'));
  return errors;
}

function watchErrors(match: string, sendInitial: string | undefined, continueToken: string): FieldError[] {
  const errors: FieldError[] = [];
  if (match !== '') {
    if (sendInitial === undefined)
      errors.push(
        forbidden(
          'resourceVersionMatch',
          'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
        ),
      );
    if (match !== 'NotOlderThan') errors.push(notSupported('resourceVersionMatch', match, ['NotOlderThan']));
  } else if (sendInitial !== undefined)
    errors.push(
      forbidden('resourceVersionMatch', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'),
    );
  if (continueToken !== '') errors.push(invalid('continue', continueToken, 'continue is forbidden for watch'));
  return errors;
}

function wholeNumber(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  const number = Number(text === '' ? '0' : text);
  if (!Number.isSafeInteger(number) || number < 0)
    throw badRequest(`${name}: Invalid value: ${JSON.stringify(text)}: must be a whole number`);
  return number;
}
