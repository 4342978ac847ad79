/** What reads bearer tokens. Each knows its own; the first that knows a token decides. */
import { createHash } from 'node:crypto';
import type { User } from '../exchange.ts';

export interface TokenIdentity {
  user: User;
  /** For which of the asked audiences it is good; undefined when the kind of token has none. */
  audiences?: string[];
}

/**
 * Undefined: not a token of this kind. Throws when it is one and is not valid, with the reason.
 * Without `audiences` those of the API server are meant.
 */
export type AuthenticateToken = (token: string, audiences?: string[]) => Promise<TokenIdentity | undefined>;

export function firstOf(authenticators: readonly AuthenticateToken[]): AuthenticateToken {
  return async (token, audiences) => {
    for (const authenticate of authenticators) {
      const found = await authenticate(token, audiences);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

export function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
