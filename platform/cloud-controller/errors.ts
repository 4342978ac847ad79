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
  UnableToPerform: [10009, 400],
  ResourceNotFound: [10010, 404],
  RateLimitExceeded: [10013, 429],
  IPBasedRateLimitExceeded: [10014, 429],
  ServiceUnavailable: [10015, 503],
  OrgSuspended: [10017, 403],
  UniquenessError: [10016, 422],
  ServiceInstanceAlreadyBoundToSameRoute: [130008, 422],
  AppPackageInvalid: [150001, 400],
  PackageBitsAlreadyUploaded: [150004, 400],
  AppBitsUploadInvalid: [160001, 400],
  StagingError: [170001, 422],
  InsufficientStorage: [160004, 507],
  FeatureDisabled: [330002, 403],
  AsyncServiceInstanceOperationInProgress: [60016, 409],
  VolumeMountServiceDisabled: [60025, 403],
  InvalidLoggingServiceBinding: [90006, 502],
  ServiceFetchBindingParametersNotSupported: [90007, 400],
  AsyncServiceBindingOperationInProgress: [90008, 409],
  ServiceFetchInstanceParametersNotSupported: [120004, 400],
  ServiceBrokerNotFound: [270004, 404],
  ServiceBrokerNotRemovable: [270010, 422],
  ServiceBrokerCatalogInvalid: [270012, 502],
  ServiceBrokerAsyncRequired: [270014, 400],
  ServiceBrokerConcurrencyError: [270018, 422],
  ServiceBrokerCatalogIncompatible: [270019, 502],
  ServiceBrokerRequestRejected: [270020, 502],
  ServiceBrokerRequestMalformed: [270021, 502],
  ServiceInstanceUnshareFailed: [390001, 502],
  MaintenanceInfoConflict: [390009, 422],
  // What a broker did wrong, which has no number of its own.
  AppRequired: [10001, 400],
  HttpClientTimeout: [10001, 504],
  ServiceBrokerApiAuthenticationFailed: [10001, 502],
  ServiceBrokerApiTimeout: [10001, 504],
  ServiceBrokerApiUnreachable: [10001, 502],
  ServiceBrokerBadResponse: [10001, 502],
  ServiceBrokerConflict: [10001, 409],
  ServiceBrokerResponseMalformed: [10001, 502],
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
