/** Starts UAA: keys, admin, HTTP listener. */
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Client } from '#cluster/client/client.ts';
import type { OwnClient } from './clients.ts';
import { keepRotating, openKeyRing } from './keys.ts';
import { OneTimeCodes } from './one-time-codes.ts';
import { Revocations } from './revocations.ts';
import { createUaa } from './server.ts';
import { Tokens } from './tokens.ts';
import type { Identity } from './uaa.ts';
import { ensureAdmin, findAccount } from './users.ts';

export interface StartUaaOptions {
  client: Client;
  /** `https://uaa.DOMAIN[:port]` and `https://login.DOMAIN[:port]`, as clients dial them. The same app serves both. */
  urls: { uaa: string; login: string };
  /** The admin's password is in `<dataDirectory>/admin-password`. */
  dataDirectory: string;
  host?: string;
  /** 0 picks a free one. */
  port: number;
  clients?: OwnClient[];
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface RunningUaa {
  readonly port: number;
  /** For the cloud controller and the log cache. */
  readonly tokens: Tokens;
  readonly admin: { guid: string; username: string };
  /** Who was given this one-time code, while they are still a user; it is used up. */
  redeem(code: string): Promise<Identity | undefined>;
  close(): Promise<void>;
}

/** Needs the platform's resource definitions (`installResources`) to be served. */
export async function startUaa(options: StartUaaOptions): Promise<RunningUaa> {
  const { client, log } = options;
  const [keys, revoked, admin] = await Promise.all([
    openKeyRing(client, Date.now),
    Revocations.open(client, Date.now),
    ensureAdmin(client, { passwordFile: join(options.dataDirectory, 'admin-password') }),
  ]);
  const tokens = new Tokens(keys, revoked, options.urls.uaa);
  const stopRotating = keepRotating(client, keys, {
    now: Date.now,
    onError: (error) => log('warn', 'The keys of tokens could not be looked at', { error: String(error) }),
  });
  const sshCodes = new OneTimeCodes();
  const app = createUaa({ ...options, tokens, revoked, sshCodes });
  await app.listen({ host: options.host ?? '127.0.0.1', port: options.port });
  const { port } = app.server.address() as AddressInfo;
  return {
    port,
    tokens,
    admin,
    redeem: async (code) => {
      const identity = sshCodes.redeem(code);
      return identity && (await findAccount(client, identity.userId)) ? identity : undefined;
    },
    async close() {
      stopRotating();
      await app.close();
    },
  };
}
