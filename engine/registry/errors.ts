/**
 * The registry's errors: the codes of the OCI distribution specification 1.1 ("Error Codes") with the status that each
 * is answered with.
 */
export const REGISTRY_ERRORS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  // Not in the specification's list; docker's registry and its clients know it.
  UNKNOWN: 500,
} as const;

export type RegistryErrorCode = keyof typeof REGISTRY_ERRORS;

export class RegistryError extends Error {
  readonly code: RegistryErrorCode;
  readonly status: number;
  readonly detail: unknown;
  readonly headers: Record<string, string | string[]>;
  constructor(
    code: RegistryErrorCode,
    message: string,
    options: { detail?: unknown; status?: number; headers?: Record<string, string | string[]>; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'RegistryError';
    this.code = code;
    this.status = options.status ?? REGISTRY_ERRORS[code];
    this.detail = options.detail ?? null;
    this.headers = options.headers ?? {};
  }

  body(): string {
    return `${JSON.stringify({ errors: [{ code: this.code, message: this.message, detail: this.detail }] })}\n`;
  }
}
