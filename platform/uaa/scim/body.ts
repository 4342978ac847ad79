/** Readers of SCIM's requests. */
import type { FastifyRequest } from 'fastify';
import { UaaError } from '../uaa.ts';

const MAX_TEXT = 2_048;

export function queryOf(request: FastifyRequest): URLSearchParams {
  const at = request.url.indexOf('?');
  return new URLSearchParams(at < 0 ? '' : request.url.slice(at + 1));
}

export function bodyOf(value: unknown): Record<string, unknown> {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new UaaError('invalid_scim_resource', 'The request body must be a JSON object');
}

export function optionalText(body: Record<string, unknown>, field: string): string | undefined {
  const value = body[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' && value.length <= MAX_TEXT && value.isWellFormed()) return value;
  throw new UaaError('invalid_scim_resource', `${field} must be a text of at most ${MAX_TEXT} characters`);
}

export function requiredText(body: Record<string, unknown>, field: string): string {
  const value = optionalText(body, field);
  if (value === undefined || value === '') throw new UaaError('invalid_scim_resource', `${field} must be given`);
  return value;
}
