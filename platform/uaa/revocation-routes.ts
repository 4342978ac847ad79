/** Revocation of tokens: one by its id, all of a user's, all of a client's. */
import type { FastifyInstance } from 'fastify';
import type { Client } from '#cluster/client/client.ts';
import type { Guard } from './guard.ts';
import type { Revocations } from './revocations.ts';
import { REFRESH_SECONDS, type Tokens } from './tokens.ts';
import { UaaError } from './uaa.ts';
import { readUser, revokeTokens } from './users.ts';

export function revocationRoutes(
  app: FastifyInstance,
  { client, guard, tokens, revoked }: { client: Client; guard: Guard; tokens: Tokens; revoked: Revocations },
): void {
  app.delete<{ Params: { id: string } }>('/oauth/token/revoke/:id', async (request, reply) => {
    const { id } = request.params;
    const claims = await tokens.claims((request.headers.authorization ?? '').replace(/^bearer\s+/i, ''));
    // The token itself, access or refresh, is proof enough.
    if (claims.jti !== id) await guard.scope(request, 'tokens.revoke', 'uaa.admin');
    await revoked.revokeToken(id, claims.jti === id ? (claims.exp ?? 0) : Date.now() / 1000 + REFRESH_SECONDS);
    return reply.code(200).send();
  });

  app.get<{ Params: { id: string } }>('/oauth/token/revoke/user/:id', async (request, reply) => {
    const { id } = request.params;
    const { userId } = await guard.identity(request);
    if (userId !== id) await guard.scope(request, 'tokens.revoke', 'uaa.admin');
    if (!(await readUser(client, id))) throw new UaaError('not_found', `User ${id.slice(0, 60)} does not exist`);
    await revokeTokens(client, id);
    return reply.code(200).send();
  });

  app.get<{ Params: { id: string } }>('/oauth/token/revoke/client/:id', async (request, reply) => {
    await guard.scope(request, 'tokens.revoke', 'uaa.admin');
    await revoked.revokeClient(request.params.id);
    return reply.code(200).send();
  });
}
