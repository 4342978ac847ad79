/** Cloud Foundry's errors: code, title and HTTP status as its v3 API documents them. */

const CODES = {
  InvalidAuthToken: [1000, 401],
  MessageParseError: [1001, 400],
  NotFound: [10000, 404],
  UnknownError: [10001, 500],
  NotAuthenticated: [10002, 401],
  NotAuthorized: [10003, 403],
  BadQueryParameter: [10005, 400],
  UnprocessableEntity: [10008, 422],
  ResourceNotFound: [10010, 404],
  RateLimitExceeded: [10013, 429],
  IPBasedRateLimitExceeded: [10014, 429],
  ServiceUnavailable: [10015, 503],
  OrgSuspended: [10017, 403],
  UniquenessError: [10016, 422],
  AppPackageInvalid: [150001, 400],
  PackageBitsAlreadyUploaded: [150004, 400],
  AppBitsUploadInvalid: [160001, 400],
  StagingError: [170001, 422],
  InsufficientStorage: [160004, 507],
  FeatureDisabled: [330002, 403],
} as const;

export type CloudFoundryErrorTitle = keyof typeof CODES;

export interface ErrorJson {
  code: number;
  title: string;
  detail: string;
}

export class CloudFoundryError extends Error {
  readonly title: CloudFoundryErrorTitle;
  constructor(title: CloudFoundryErrorTitle, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.name = 'CloudFoundryError';
    this.title = title;
  }
  get code(): number {
    return CODES[this.title][0];
  }
  get status(): number {
    return CODES[this.title][1];
  }
  toJson(): ErrorJson {
    return { code: this.code, title: `CF-${this.title}`, detail: this.message };
  }
}

/** Several things wrong with one request are told together, one entry each. */
export class UnprocessableError extends CloudFoundryError {
  readonly details: string[];
  constructor(details: string[]) {
    super('UnprocessableEntity', details.join(', '));
    this.details = details;
  }
}

export function notFound(what: string): CloudFoundryError {
  return new CloudFoundryError('ResourceNotFound', `${what} not found`);
}

export function unprocessable(detail: string): CloudFoundryError {
  return new CloudFoundryError('UnprocessableEntity', detail);
}

export function notAuthorized(): CloudFoundryError {
  return new CloudFoundryError('NotAuthorized', 'You are not authorized to perform the requested action');
}
