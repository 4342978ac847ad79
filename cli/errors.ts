/** An error that the person at the keyboard can act on: printed without a stack, exit status 1. */
export class CliError extends Error {
  readonly remedy: string | undefined;
  constructor(message: string, remedy?: string, options?: ErrorOptions) {
    super(remedy ? `${message}\n  remedy: ${remedy}` : message, options);
    this.name = 'CliError';
    this.remedy = remedy;
  }
}

/** Nobody answers: the platform is down, or it starts again. */
export class UnreachableError extends CliError {}

/** The platform refused a request. */
export class ApiError extends CliError {
  readonly status: number;
  /** Cloud Foundry's title, such as `CF-UnprocessableEntity`. */
  readonly title: string;
  constructor(status: number, title: string, detail: string) {
    super(detail);
    this.name = 'ApiError';
    this.status = status;
    this.title = title;
  }
}
