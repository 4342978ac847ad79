/**
 * Who is logged in with a browser: a Secret of the system namespace for each, by a digest of the cookie, so that who reads them is nobody, and a
 * restart logs nobody out. Bounded, the oldest go first.
 */
import { createHash, randomBytes } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { systemNamespace } from '../../resources/types.ts';
import { secretData, secretText } from '../../resources/secrets.ts';
import { sweepSecrets } from './sweeping.ts';

const SESSION_MILLISECONDS = 30 * 60_000;
const MOST = 10_000;
const LABEL = 'platform.sampan.dev/uaa-session';
const ATTEMPTS = 5;

/** Somebody who is logged in with a browser. */
export interface Session {
  userId: string;
  until: number;
  /** When they said their password; seconds since the epoch. */
  authTime: number;
  /** Scopes by client that they have agreed to. */
  approved: Map<string, Set<string>>;
}

export class Sessions {
  readonly #client: Client;
  readonly #now: () => number;

  constructor(client: Client, now: () => number = Date.now) {
    this.#client = client;
    this.#now = now;
  }

  /** The value of its cookie. */
  async open(userId: string): Promise<string> {
    const id = randomBytes(32).toString('base64url');
    const now = this.#now();
    const session = {
      userId,
      until: now + SESSION_MILLISECONDS,
      authTime: Math.floor(now / 1000),
      approved: new Map(),
    };
    await this.#client.create(secrets, secretOf(id, session));
    return id;
  }

  async find(id: string | undefined): Promise<Session | undefined> {
    const session = id === undefined ? undefined : sessionOf(await this.#read(id));
    return session !== undefined && session.until > this.#now() ? session : undefined;
  }

  /** Adds to what the user has agreed to. */
  async approve(id: string | undefined, clientId: string, scopes: readonly string[]): Promise<void> {
    for (let attempt = 1; id !== undefined; attempt++) {
      const secret = await this.#read(id);
      const session = sessionOf(secret);
      if (secret === undefined || session === undefined) return;
      session.approved.set(clientId, new Set([...(session.approved.get(clientId) ?? []), ...scopes]));
      try {
        await this.#client.update(secrets, { ...secret, data: secretOf(id, session).data ?? {} });
        return;
      } catch (error) {
        if (!(error instanceof ApiError && error.reason === 'Conflict') || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async close(id: string | undefined): Promise<void> {
    if (id !== undefined) await this.#remove(nameOf(id));
  }

  async sweep(): Promise<void> {
    const untilOf = (secret: Secret): number => sessionOf(secret)?.until ?? 0;
    await sweepSecrets(this.#client, { label: LABEL, most: MOST, untilOf, now: this.#now });
  }

  async #read(id: string): Promise<Secret | undefined> {
    return await orUndefined(this.#client.get(secrets, nameOf(id), systemNamespace));
  }

  async #remove(name: string): Promise<void> {
    await orUndefined(this.#client.delete(secrets, name, { namespace: systemNamespace }));
  }
}

function nameOf(id: string): string {
  return `uaa-session-${createHash('sha256').update(id).digest('hex')}`;
}

function secretOf(id: string, { approved, ...session }: Session): Secret {
  const kept = { ...session, approved: [...approved].map(([client, scopes]) => [client, [...scopes]]) };
  return {
    metadata: { name: nameOf(id), namespace: systemNamespace, labels: { [LABEL]: '' } },
    type: 'Opaque',
    data: secretData({ session: JSON.stringify(kept) }),
  };
}

function sessionOf(secret: Secret | undefined): Session | undefined {
  try {
    const text = secretText(secret, 'session');
    const { approved, ...session } = JSON.parse(text) as Omit<Session, 'approved'> & { approved: [string, string[]][] };
    return { ...session, approved: new Map(approved.map(([client, scopes]) => [client, new Set(scopes)])) };
  } catch {
    // None of ours: nobody is logged in by it.
    return undefined;
  }
}
