/** What a host command says when it cannot go on: one sentence of what is wrong, one of what to do. Exit status 1. */
export type HostErrorCode =
  | 'invalid-flag'
  | 'not-root'
  | 'wrong-system'
  | 'conflict'
  | 'no-instance'
  | 'no-range'
  | 'port-taken'
  | 'disk-full'
  | 'kernel-feature'
  | 'package-missing'
  | 'not-ready'
  | 'store-unreachable'
  | 'backup-unusable'
  | 'certificate'
  | 'io';

export class HostError extends Error {
  readonly code: HostErrorCode;
  readonly remedy: string;
  constructor(code: HostErrorCode, message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'HostError';
    this.code = code;
    this.remedy = remedy;
  }
}
