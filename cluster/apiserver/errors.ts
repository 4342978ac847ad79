/** Errors of the API, in Kubernetes' own words: each is a Status on the wire (API conventions, "Response Status Kind"). */
import type { FieldError } from '../kinds/field-error.ts';
import type { Status, StatusCause, StatusDetails } from '../kinds/types/meta.ts';

export interface ResourceName {
  group: string;
  resource: string;
}

export class StatusError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;
  /** For a list that expired between two pages: how to go on. */
  continueToken: string | undefined;
  constructor(code: number, reason: string, message: string, details?: StatusDetails, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StatusError';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  status(): Status {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: this.continueToken === undefined ? {} : { continue: this.continueToken },
      status: 'Failure',
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

function qualified({ group, resource }: ResourceName): string {
  return group === '' ? resource : `${resource}.${group}`;
}

function details(where: ResourceName, name: string, causes?: StatusCause[]): StatusDetails {
  return {
    ...(name === '' ? {} : { name }),
    ...(where.group === '' ? {} : { group: where.group }),
    kind: where.resource,
    ...(causes === undefined ? {} : { causes }),
  };
}

export function notFound(where: ResourceName, name: string): StatusError {
  return new StatusError(404, 'NotFound', `${qualified(where)} "${name}" not found`, details(where, name));
}

export function noSuchPath(): StatusError {
  return new StatusError(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(where: ResourceName, name: string): StatusError {
  return new StatusError(409, 'AlreadyExists', `${qualified(where)} "${name}" already exists`, details(where, name));
}

export const MODIFIED = 'the object has been modified; please apply your changes to the latest version and try again';

export function conflict(where: ResourceName, name: string, why = MODIFIED): StatusError {
  return new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(where)} "${name}": ${why}`,
    details(where, name),
  );
}

export function forbidden(where: ResourceName, name: string, why: string, causes?: StatusCause[]): StatusError {
  const object = name === '' ? qualified(where) : `${qualified(where)} "${name}"`;
  return new StatusError(403, 'Forbidden', `${object} is forbidden: ${why}`, details(where, name, causes));
}

export function unauthorized(): StatusError {
  return new StatusError(401, 'Unauthorized', 'Unauthorized');
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, 'BadRequest', message);
}

export function expired(message: string): StatusError {
  return new StatusError(410, 'Expired', message);
}

export function methodNotAllowed(): StatusError {
  return new StatusError(
    405,
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
    {},
  );
}

/** What is told of one object: each error may be longer than what it is about. */
const ERRORS_LIMIT = 500;

/** The kind (not the resource) is named, as upstream does. */
export function invalidObject(kind: { group: string; kind: string }, name: string, all: FieldError[]): StatusError {
  const errors = all.slice(0, ERRORS_LIMIT);
  if (all.length > errors.length)
    errors.push({
      reason: 'FieldValueInvalid',
      field: '',
      message: `and ${all.length - errors.length} further errors`,
    });
  const texts = errors.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`));
  const subject = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`;
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new StatusError(422, 'Invalid', `${subject} "${name}" is invalid: ${list}`, {
    ...(name === '' ? {} : { name }),
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.kind,
    causes: errors.map(({ reason, message, field }) => ({ reason, message, field })),
  });
}
