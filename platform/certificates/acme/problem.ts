/** Why an ACME server did not do it: `type` and `detail` are its own words (RFC 8555, 6.7). */
export type AcmeErrorCode = 'unreachable' | 'protocol' | 'problem' | 'invalid-order';

export class AcmeError extends Error {
  readonly code: AcmeErrorCode;
  /** Without `urn:ietf:params:acme:error:`; absent where the server did not say. */
  readonly type: string | undefined;
  /** Not before, milliseconds since the epoch. */
  readonly notBefore: number | undefined;
  constructor(
    code: AcmeErrorCode,
    message: string,
    { type, notBefore, ...options }: ErrorOptions & { type?: string | undefined; notBefore?: number | undefined } = {},
  ) {
    super(message, options);
    this.name = 'AcmeError';
    this.code = code;
    this.type = type;
    this.notBefore = notBefore;
  }
}

export interface Problem {
  type?: string;
  detail?: string;
  subproblems?: { type?: string; detail?: string; identifier?: { value?: string } }[];
}

export function typeOf({ type }: Problem): string | undefined {
  return type?.replace(/^urn:ietf:params:acme:error:/, '').slice(0, 100);
}

/** On one line, of a length that an event and a status can hold. */
export function textOf(problem: Problem): string {
  const parts = (problem.subproblems ?? []).map(
    ({ identifier, detail }) => `${identifier?.value ?? ''}: ${detail ?? ''}`,
  );
  const text = [problem.detail ?? 'it does not say why', ...parts].join('; ');
  return text.replace(/\s+/g, ' ').slice(0, 600);
}
