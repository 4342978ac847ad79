/**
 * The one-time codes that people are shown for a client without a browser (`cf login --sso`): a Secret of the system namespace for each, by a
 * digest of the code, so that who reads them is nobody. Good for five minutes, through a restart too, and for one login: whoever deletes the
 * Secret has it. Of one user there are a few at most, the oldest go first.
 */
import { createHash, randomBytes } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { secretData, secretText } from '../../resources/secrets.ts';
import { systemNamespace } from '../../resources/types.ts';
import { sweepSecrets } from './sweeping.ts';

const PASSCODE_MILLISECONDS = 5 * 60_000;
const MOST = 10_000;
const MOST_OF_ONE = 5;
/** Its value is the user's guid. */
const LABEL = 'platform.sampan.dev/uaa-passcode';
/** No letters that are taken for others. */
const ALPHABET = 'ABCDEFGHJKMNPQRSTVWXYZ23456789';
const LENGTH = 12;

export class Passcodes {
  readonly #client: Client;
  readonly #now: () => number;

  constructor(client: Client, now: () => number = Date.now) {
    this.#client = client;
    this.#now = now;
  }

  async issue(userId: string): Promise<string> {
    await sweepSecrets(this.#client, { label: `${LABEL}=${userId}`, most: MOST_OF_ONE - 1, untilOf, now: this.#now });
    const code = makeCode();
    await this.#client.create(secrets, {
      metadata: { name: nameOf(code), namespace: systemNamespace, labels: { [LABEL]: userId } },
      type: 'Opaque',
      data: secretData({ user: userId, until: String(this.#now() + PASSCODE_MILLISECONDS) }),
    });
    return code;
  }

  /** Whose it is; it is used up. */
  async redeem(passcode: string): Promise<string | undefined> {
    const code = passcode.trim().toUpperCase();
    if (code.length !== LENGTH) return undefined;
    const secret = await orUndefined(this.#client.get(secrets, nameOf(code), systemNamespace));
    if (secret === undefined) return undefined;
    const { name, uid } = secret.metadata;
    try {
      await this.#client.delete(secrets, name, { namespace: systemNamespace, preconditions: { uid } });
    } catch (error) {
      // Somebody else was there first.
      if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return undefined;
      throw error;
    }
    return untilOf(secret) > this.#now() ? secretText(secret, 'user') : undefined;
  }

  async sweep(): Promise<void> {
    await sweepSecrets(this.#client, { label: LABEL, most: MOST, untilOf, now: this.#now });
  }
}

function untilOf(secret: Secret): number {
  return Number(secretText(secret, 'until'));
}

function nameOf(code: string): string {
  return `uaa-passcode-${createHash('sha256').update(code).digest('hex')}`;
}

/** The alphabet's 30 letters leave 16 of 256 values that are drawn again, so that each is as likely. */
function makeCode(): string {
  let code = '';
  while (code.length < LENGTH) {
    for (const byte of randomBytes(LENGTH)) {
      if (byte < 240 && code.length < LENGTH) code += ALPHABET.charAt(byte % ALPHABET.length);
    }
  }
  return code;
}
