/** The clients of UAA: the platform's own, and those that administrators register. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../resources/kubernetes.ts';
import { type OauthClient, oauthClients, systemNamespace } from '../resources/types.ts';
import { putSecret, secretData, secretText } from '../resources/secrets.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { UaaError } from './uaa.ts';

export interface ClientFacts {
  id: string;
  displayName?: string;
  grants: string[];
  /** What tokens of users may hold at most; absent: whatever the user has. */
  scopes?: string[];
  /** Of tokens that the client gets for itself. */
  authorities: string[];
  redirectUris: string[];
  /** Users are not asked: about anything, or about these scopes. */
  autoApprove: boolean | string[];
  accessSeconds?: number;
  refreshSeconds?: number;
}

/** One that has shown who it is. */
export interface Authenticated extends ClientFacts {
  /** By a secret, which one that is on everybody's machine does not have. */
  proven: boolean;
}

/** One that is part of the platform; its secret is known when it starts. */
export interface OwnClient extends ClientFacts {
  secret: string;
}

/** Public: its secret is empty, as every copy of the client has it. */
export const CF_CLIENT: OwnClient = {
  id: 'cf',
  secret: '',
  grants: ['password', 'refresh_token'],
  authorities: [],
  redirectUris: [],
  autoApprove: true,
};

export class Clients {
  readonly #client: Client;
  readonly #own: OwnClient[];

  constructor(client: Client, own: OwnClient[]) {
    this.#client = client;
    this.#own = [CF_CLIENT, ...own];
  }

  isOwn(id: string): boolean {
    return this.#own.some((client) => client.id === id);
  }

  /** Rejects with `unauthorized` for a wrong secret as for a client that is not there. */
  async authenticate(id: string, secret: string): Promise<Authenticated> {
    const own = this.#own.find((client) => client.id === id);
    const proven = secret !== '';
    if (own && equal(secret, own.secret)) return { ...own, proven };
    const stored = own ? undefined : await this.stored(id);
    if (stored && (await verifyPassword(secret, await this.#hash(id)))) return { ...stored.spec, proven };
    throw new UaaError('unauthorized', 'Bad credentials');
  }

  async find(id: string): Promise<ClientFacts | undefined> {
    return this.#own.find((client) => client.id === id) ?? (await this.stored(id))?.spec;
  }

  async stored(id: string): Promise<Stored<OauthClient> | undefined> {
    return orUndefined(this.#client.get(oauthClients, objectName(id)));
  }

  async list(): Promise<OauthClient['spec'][]> {
    return (await this.#client.list(oauthClients)).items.map(({ spec }) => spec);
  }

  async register(spec: OauthClient['spec'], secret: string): Promise<void> {
    if (this.isOwn(spec.id) || (await this.stored(spec.id))) throw exists(spec.id);
    await this.setSecret(spec.id, secret);
    try {
      await this.#client.create(oauthClients, { metadata: { name: objectName(spec.id) }, spec });
    } catch (error) {
      if (error instanceof ApiError && error.reason === 'AlreadyExists') throw exists(spec.id);
      throw error;
    }
  }

  async change(client: Stored<OauthClient>, spec: OauthClient['spec']): Promise<void> {
    await this.#client.update(oauthClients, { ...client, spec });
  }

  async remove(id: string): Promise<void> {
    await orUndefined(this.#client.delete(oauthClients, objectName(id)));
    await orUndefined(this.#client.delete(secrets, secretName(id), { namespace: systemNamespace }));
  }

  async setSecret(id: string, secret: string): Promise<void> {
    const data = secretData({ secret: await hashPassword(secret) });
    const metadata = { name: secretName(id), namespace: systemNamespace };
    await putSecret(this.#client, { metadata, type: 'Opaque', data });
  }

  async #hash(id: string): Promise<string> {
    const secret = await orUndefined(this.#client.get(secrets, secretName(id), systemNamespace));
    return secretText(secret, 'secret');
  }
}

function exists(id: string): UaaError {
  return new UaaError('invalid_client_metadata', `Client already exists: ${id}`);
}

/** Ids of clients take more characters than names of objects. */
function objectName(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 40);
}

function secretName(id: string): string {
  return `client-${objectName(id)}`;
}

function equal(left: string, right: string): boolean {
  const a = Buffer.from(left);
  const b = Buffer.from(right);
  return a.length === b.length && timingSafeEqual(a, b);
}
