/**
 * Tokens that were revoked before their time, in the Secret `uaa-revoked` of the system namespace: by their id (`jti`), or all of a
 * client's that were issued before a moment. An entry goes when the token would have ended by itself.
 */
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';

const NAME = 'uaa-revoked';
const MAX_ATTEMPTS = 10;

interface Claims {
  jti?: unknown;
  cid?: unknown;
  iat?: unknown;
}

/** Seconds since the epoch, as in tokens. */
interface Entries {
  /** Until when each token would be valid. */
  tokens: Record<string, number>;
  /** Before when each client's tokens are void. */
  clients: Record<string, number>;
}

export class Revocations {
  readonly #client: Client;
  readonly #now: () => number;
  #entries: Entries;

  private constructor(client: Client, now: () => number, entries: Entries) {
    this.#client = client;
    this.#now = now;
    this.#entries = entries;
  }

  static async open(client: Client, now: () => number): Promise<Revocations> {
    return new Revocations(client, now, entriesOf(await readSecret(client)));
  }

  has({ jti, cid, iat }: Claims): boolean {
    const { tokens, clients } = this.#entries;
    if (typeof jti === 'string' && Object.hasOwn(tokens, jti)) return true;
    const before = typeof cid === 'string' && Object.hasOwn(clients, cid) ? clients[cid] : undefined;
    return before !== undefined && typeof iat === 'number' && iat < before;
  }

  async revokeToken(jti: string, until: number): Promise<void> {
    await this.#change((entries) => ({ ...entries, tokens: { ...entries.tokens, [jti]: until } }));
  }

  async revokeClient(id: string): Promise<void> {
    const before = Math.ceil(this.#now() / 1000);
    await this.#change((entries) => ({ ...entries, clients: { ...entries.clients, [id]: before } }));
  }

  async #change(change: (entries: Entries) => Entries): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const secret = await readSecret(this.#client);
      const entries = change(this.#pruned(entriesOf(secret)));
      const data = { entries: Buffer.from(JSON.stringify(entries)).toString('base64') };
      try {
        if (secret) await this.#client.update(secrets, { ...secret, data });
        else {
          const metadata = { name: NAME, namespace: systemNamespace };
          await this.#client.create(secrets, { metadata, type: 'Opaque', data });
        }
        this.#entries = entries;
        return;
      } catch (error) {
        const lost = error instanceof ApiError && (error.reason === 'AlreadyExists' || error.reason === 'Conflict');
        if (!lost || attempt >= MAX_ATTEMPTS) throw error;
      }
    }
  }

  #pruned({ tokens, clients }: Entries): Entries {
    const now = this.#now() / 1000;
    return { tokens: Object.fromEntries(Object.entries(tokens).filter(([, until]) => until > now)), clients };
  }
}

async function readSecret(client: Client): Promise<Stored<Secret> | undefined> {
  return await orUndefined(client.get(secrets, NAME, systemNamespace));
}

function entriesOf(secret: Stored<Secret> | undefined): Entries {
  const text = secret?.data?.['entries'];
  return text === undefined
    ? { tokens: {}, clients: {} }
    : (JSON.parse(Buffer.from(text, 'base64').toString()) as Entries);
}
