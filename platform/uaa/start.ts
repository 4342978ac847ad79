/** Starts UAA: keys, admin, HTTP listener. */
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Client } from '#cluster/client/client.ts';
import type { OauthClient } from './grants.ts';
import { createUaa } from './server.ts';
import { loadSigningKey, Tokens } from './tokens.ts';
import { ensureAdmin } from './users.ts';

export interface StartUaaOptions {
  client: Client;
  /** `https://uaa.DOMAIN[:port]` and `https://login.DOMAIN[:port]`, as clients dial them. The same app serves both. */
  urls: { uaa: string; login: string };
  /** The admin's password is in `<dataDirectory>/admin-password`. */
  dataDirectory: string;
  host?: string;
  /** 0 picks a free one. */
  port: number;
  clients?: OauthClient[];
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface RunningUaa {
  readonly port: number;
  /** For the cloud controller and the log cache. */
  readonly tokens: Tokens;
  readonly admin: { guid: string; username: string };
  close(): Promise<void>;
}

/** Needs the platform's resource definitions (`installResources`) to be served. */
export async function startUaa(options: StartUaaOptions): Promise<RunningUaa> {
  const [key, admin] = await Promise.all([
    loadSigningKey(options.client),
    ensureAdmin(options.client, { passwordFile: join(options.dataDirectory, 'admin-password') }),
  ]);
  const tokens = new Tokens(key, options.urls.uaa);
  const app = createUaa({ ...options, tokens });
  await app.listen({ host: options.host ?? '127.0.0.1', port: options.port });
  const { port } = app.server.address() as AddressInfo;
  return { port, tokens, admin, close: () => app.close() };
}
