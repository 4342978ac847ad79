/** What `cf ssh` and `cf ssh-code` ask `/oauth/authorize` for: they come with an access token instead of a browser. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { OneTimeCodes } from './one-time-codes.ts';
import { queryOf } from './scim/body.ts';
import { SSH_CLIENT_ID, type TokenVerifier, UaaError } from './uaa.ts';

export interface SshCodesOptions {
  codes: OneTimeCodes;
  tokens: TokenVerifier;
  /** Where browsers are: the code comes as a parameter of it, and nobody follows. */
  loginUrl: string;
}

export function isForSsh(request: FastifyRequest): boolean {
  return queryOf(request).get('client_id') === SSH_CLIENT_ID;
}

export async function sendSshCode(
  request: FastifyRequest,
  reply: FastifyReply,
  { codes, tokens, loginUrl }: SshCodesOptions,
): Promise<FastifyReply> {
  if (queryOf(request).get('response_type') !== 'code') {
    throw new UaaError('invalid_request', 'The response_type must be "code"');
  }
  const identity = await tokens.verify(request.headers.authorization ?? '');
  if (identity.userId === identity.clientId) throw new UaaError('unauthorized', 'Only users have codes');
  const code = codes.issue(identity);
  return reply.header('cache-control', 'no-store').redirect(`${loginUrl}/login?code=${code}`, 302);
}
