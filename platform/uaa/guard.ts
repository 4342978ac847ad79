/** Who may use an endpoint of UAA: the bearer of a token with one of its scopes. */
import type { FastifyRequest } from 'fastify';
import { type Identity, type TokenVerifier, UaaError } from './uaa.ts';

export class Guard {
  readonly #tokens: TokenVerifier;

  constructor(tokens: TokenVerifier) {
    this.#tokens = tokens;
  }

  async identity(request: FastifyRequest): Promise<Identity> {
    const { authorization } = request.headers;
    if (authorization === undefined) {
      throw new UaaError('unauthorized', 'Full authentication is required to access this resource');
    }
    return this.#tokens.verify(authorization);
  }

  /** Rejects with `insufficient_scope` where the token has none of them. */
  async scope(request: FastifyRequest, ...scopes: string[]): Promise<Identity> {
    const identity = await this.identity(request);
    if (scopes.some((scope) => identity.scopes.includes(scope))) return identity;
    throw new UaaError(
      'insufficient_scope',
      `Insufficient scope for this resource: one of ${scopes.join(', ')} is needed`,
    );
  }
}
