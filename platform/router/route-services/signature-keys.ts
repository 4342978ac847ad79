/** The keys of route services' signatures: a Secret, so that who comes after a restart knows what was signed before it. */
import { randomBytes } from 'node:crypto';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { secretData, secretText } from '../../resources/secrets.ts';
import { systemNamespace } from '../../resources/types.ts';
import type { SignatureKey } from '../model.ts';

export const KEYS_SECRET = 'route-service-keys';
const KEY = 'keys';
const DAY = 24 * 3600_000;
/** What an older one has signed is good for a minute. */
const OVERLAP = 5 * 60_000;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 60_000;

interface KeptKey extends SignatureKey {
  madeAt: string;
}

export interface SignatureKeysOptions {
  client: Client;
  now?: () => number;
  onChange(): void;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export class SignatureKeys {
  readonly #options: SignatureKeysOptions;
  #keys: readonly SignatureKey[] = [];
  #timer: NodeJS.Timeout | undefined;
  #begun: Promise<void> | undefined;
  #closed = false;

  constructor(options: SignatureKeysOptions) {
    this.#options = options;
  }

  /** The newest first. None until the first was read or made, which begins when somebody asks. */
  current(): readonly SignatureKey[] {
    this.#begun ??= this.#follow();
    return this.#keys;
  }

  /** Resolves when they were read once, with or without success, if somebody has asked. */
  async settled(): Promise<void> {
    await this.#begun;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #follow(retry = FIRST_RETRY): Promise<void> {
    let wait = retry;
    let next = Math.min(LAST_RETRY, retry * 2);
    try {
      const kept = await this.#renewed();
      next = FIRST_RETRY;
      wait = this.#untilChange(kept);
      const keys = kept.map(({ id, key }) => ({ id, key }));
      const isSame = keys.map(({ id }) => id).join() === this.#keys.map(({ id }) => id).join();
      this.#keys = keys;
      if (!isSame && !this.#closed) this.#options.onChange();
    } catch (error) {
      this.#options.log('warn', 'Keys for route services cannot be read: tried again', { error: String(error), wait });
    }
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#follow(next), wait);
    this.#timer.unref();
  }

  /** As they are to be now, and as they are kept. */
  async #renewed(): Promise<KeptKey[]> {
    const { client } = this.#options;
    for (;;) {
      const secret = await orUndefined(client.get(secrets, KEYS_SECRET, systemNamespace));
      const before = read(secret);
      const now = (this.#options.now ?? Date.now)();
      const after = renew(before, now);
      if (after === before) return before;
      try {
        await this.#write(secret, after);
        return after;
      } catch (error) {
        if (!(error instanceof ApiError) || !['AlreadyExists', 'Conflict'].includes(error.reason)) throw error;
      }
    }
  }

  async #write(secret: Stored<Secret> | undefined, keys: KeptKey[]): Promise<void> {
    const { client } = this.#options;
    const data = secretData({ [KEY]: JSON.stringify(keys) });
    if (secret) await client.update(secrets, { ...secret, data });
    else {
      const metadata = { name: KEYS_SECRET, namespace: systemNamespace };
      await client.create(secrets, { metadata, type: 'Opaque', data });
    }
  }

  #untilChange([newest, older]: KeptKey[]): number {
    const now = (this.#options.now ?? Date.now)();
    const made = Date.parse(newest?.madeAt ?? '') || now;
    return Math.max(FIRST_RETRY, Math.min(made + DAY, older ? made + OVERLAP : Number.POSITIVE_INFINITY) - now);
  }
}

function read(secret: Secret | undefined): KeptKey[] {
  try {
    const keys: unknown = JSON.parse(secretText(secret, KEY) || '[]');
    if (Array.isArray(keys)) return keys as KeptKey[];
  } catch {
    // Somebody has written something else there: new ones are made.
  }
  return [];
}

/** The same where nothing is to change. */
function renew(keys: KeptKey[], now: number): KeptKey[] {
  const [newest] = keys;
  const age = newest ? now - Date.parse(newest.madeAt) : Number.POSITIVE_INFINITY;
  if (!(age < DAY)) {
    const made = { id: randomBytes(8).toString('hex'), key: randomBytes(32).toString('base64') };
    return [{ ...made, madeAt: new Date(now).toISOString() }, ...keys.slice(0, 1)];
  }
  return keys.length > 1 && age >= OVERLAP ? keys.slice(0, 1) : keys;
}
