import type { Status } from '../kinds/types/meta.ts';
import { ApiError } from './client.ts';

const reasons = new Map<number, string>([
  [400, 'BadRequest'],
  [401, 'Unauthorized'],
  [403, 'Forbidden'],
  [404, 'NotFound'],
  [405, 'MethodNotAllowed'],
  [409, 'Conflict'],
  [410, 'Expired'],
  [413, 'RequestEntityTooLarge'],
  [415, 'UnsupportedMediaType'],
  [422, 'Invalid'],
  [429, 'TooManyRequests'],
  [500, 'InternalError'],
  [503, 'ServiceUnavailable'],
  [504, 'Timeout'],
]);

function isStatus(value: unknown): value is Status {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'Status';
}

export function errorFromStatus(status: Status, fallbackCode = 500): ApiError {
  const code = status.code ?? fallbackCode;
  const reason = status.reason || (reasons.get(code) ?? 'Unknown');
  return new ApiError(code, reason, status.message || `the server answered ${code} ${reason}`, { status });
}

/** From an answer that is no success; its body is a Status, or whatever something in between wrote. */
export function errorFromAnswer(code: number, body: Buffer, request: string): ApiError {
  try {
    const parsed: unknown = JSON.parse(body.toString());
    if (isStatus(parsed)) return errorFromStatus(parsed, code);
  } catch {
    // Not JSON: told below.
  }
  const detail = body.subarray(0, 500).toString().trim();
  return new ApiError(code, reasons.get(code) ?? 'Unknown', `${request}: HTTP ${code}${detail ? `: ${detail}` : ''}`);
}

/** What the in-process server throws before there is an answer: an error that knows its Status. */
function ownStatus(cause: unknown): Status | undefined {
  if (!(cause instanceof Error && 'status' in cause && typeof cause.status === 'function')) return undefined;
  const status: unknown = cause.status();
  return isStatus(status) ? status : undefined;
}

/** No answer came, or it broke off. */
export function connectionError(cause: unknown, request: string): ApiError {
  if (cause instanceof ApiError) return cause;
  const status = ownStatus(cause);
  if (status) return errorFromStatus(status);
  const message = cause instanceof Error ? cause.message : String(cause);
  return new ApiError(0, 'ConnectionFailed', `${request}: ${message}`, { cause });
}

/** The answer; undefined where it is an error with one of the codes: when none are named, that there is no such object. */
export async function orUndefined<T>(answer: Promise<T>, ...codes: number[]): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && (codes.length === 0 ? [404] : codes).includes(error.code)) return undefined;
    throw error;
  }
}
