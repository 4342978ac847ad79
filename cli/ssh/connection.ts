/**
 * A connection to an instance of an app, through the platform's ssh proxy. The password is a one-time code of UAA; the proxy's key is the one whose
 * fingerprint the API tells, so nobody is asked whether they know it.
 */
import { createHash } from 'node:crypto';
import ssh2 from 'ssh2';
import type { Api } from '../api.ts';
import { CliError } from '../errors.ts';
import { addressOf } from '../target.ts';

/** UAA's client that codes are made for. */
export const SSH_PROXY = 'ssh-proxy';

export interface Instance {
  app: string;
  /** Guid of the process. */
  process: string;
  index: number;
}

export interface Connection {
  client: ssh2.Client;
  /** Resolves when it is over, whoever ended it. */
  closed: Promise<void>;
}

/** Rejects where nobody answers, another key is shown, or the way in is closed. */
export async function connect(api: Api, { app, process, index }: Instance): Promise<Connection> {
  const { app_ssh: proxy } = (await api.root()).links;
  if (!proxy) throw new CliError('The platform has no ssh proxy.');
  const { hostname, port } = new URL(`ssh://${proxy.href}`);
  const password = await api.oneTimeCode(SSH_PROXY);
  const client = new ssh2.Client();
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  client.once('close', () => resolve());
  let isStranger = false;
  await new Promise<void>((done, fail) => {
    // What breaks a connection that stands closes it: `closed` tells that.
    client.on('error', (error) => {
      if (isStranger) fail(new CliError(`${proxy.href} shows another key than the API says that it has.`));
      else fail(explained(error, { app, index, host: proxy.href }));
    });
    client.once('close', () => fail(new CliError(`${proxy.href} hung up.`)));
    client.once('ready', () => done());
    client.connect({
      host: addressOf(api.target, hostname),
      port: Number(port) || 22,
      username: `cf:${process}/${index}`,
      password,
      hostVerifier: (key: Buffer) => {
        isStranger = fingerprintOf(key) !== proxy.meta.host_key_fingerprint.replace(/=+$/, '');
        return !isStranger;
      },
    });
  });
  return { client, closed };
}

/** Base64 without padding. */
function fingerprintOf(key: Buffer): string {
  return createHash('sha256').update(key).digest('base64').replace(/=+$/, '');
}

function explained(
  error: Error & { level?: string },
  { app, index, host }: { app: string; index: number; host: string },
): CliError {
  if (error.level === 'client-authentication')
    return new CliError(
      `You are not let into instance ${index} of ${app}.`,
      `It must run (see \`sampan app ${app}\`), ssh must be allowed to the app and in its space, and you must be a developer there.`,
      { cause: error },
    );
  return new CliError(`Cannot connect to ${host}: ${error.message}.`, 'Is the platform up? See `sampan status`.', {
    cause: error,
  });
}
