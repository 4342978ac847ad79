/** How messages travel: see `drains.ts`. */
import type { ClientRequest } from 'node:http';
import { Agent, request } from 'node:https';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { outsideTls } from '#lib/authorities.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { Sender, Target } from './drains.ts';

const CONNECT_PATIENCE = 10_000;
const WRITE_PATIENCE = 20_000;
const SYSLOG_PORTS: Record<string, number> = { 'syslog:': 514, 'syslog-tls:': 6514 };

export function senderOf(target: Target, guard: AddressGuard): Sender {
  return target.url.protocol === 'https:' ? httpsSender(target, guard) : syslogSender(target, guard);
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** One connection, made when something is to be sent. */
function syslogSender({ url, tls }: Target, guard: AddressGuard): Sender {
  let socket: Socket | undefined;
  const open = async (): Promise<Socket> => {
    const host = hostOf(url);
    if (isIP(host) !== 0) guard.check(host);
    const to = { host, port: Number(url.port) || (SYSLOG_PORTS[url.protocol] ?? 514), lookup: guard.lookup };
    const isTls = url.protocol === 'syslog-tls:';
    const made = isTls
      ? connectTls({ ...outsideTls(), ...to, ...tls, ...(isIP(host) === 0 && { servername: host }) })
      : connect(to);
    try {
      await settled(made, isTls ? 'secureConnect' : 'connect', CONNECT_PATIENCE);
    } catch (error) {
      made.destroy();
      throw error;
    }
    made.setKeepAlive(true, 30_000);
    // What a receiver says is nobody's.
    made.resume();
    made.on('error', () => undefined);
    made.once('close', () => {
      if (socket === made) socket = undefined;
    });
    return made;
  };
  return {
    batch: 200,
    async send(messages) {
      socket ??= await open();
      const bytes = Buffer.concat(messages.flatMap((message) => [Buffer.from(`${message.length} `), message]));
      const used = socket;
      const written = new Promise<void>((resolve, reject) =>
        used.write(bytes, (error) => (error ? reject(error) : resolve())),
      );
      try {
        await withPatience(written, WRITE_PATIENCE, 'it does not take what is sent');
      } catch (error) {
        used.destroy();
        socket = undefined;
        throw error;
      }
    },
    close: () => void socket?.destroy(),
  };
}

function httpsSender({ url, tls }: Target, guard: AddressGuard): Sender {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ...outsideTls(), ...tls });
  const post = async (message: Buffer): Promise<void> => {
    if (isIP(hostOf(url)) !== 0) guard.check(url.hostname);
    const sent = request(url, {
      method: 'POST',
      agent,
      lookup: guard.lookup,
      headers: { 'content-type': 'text/plain', 'content-length': message.length },
      ...(url.username !== '' && { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` }),
    });
    sent.end(message);
    const status = await withPatience(statusOf(sent), WRITE_PATIENCE, 'there is no answer').catch((error: unknown) => {
      sent.destroy();
      throw error;
    });
    if (status < 200 || status > 299) throw new Error(`it answered with ${status}`);
  };
  return {
    batch: 1,
    async send(messages) {
      for (const message of messages) await post(message);
    },
    close: () => agent.destroy(),
  };
}

function statusOf(sent: ClientRequest): Promise<number> {
  return new Promise((resolve, reject) => {
    sent.once('error', reject);
    sent.once('response', (response) => {
      response.resume();
      response.once('error', reject);
      response.once('end', () => resolve(response.statusCode ?? 0));
    });
  });
}

function settled(socket: Socket, event: string, milliseconds: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once(event, resolve);
  socket.once('error', reject);
  return withPatience(promise, milliseconds, 'it is not reached');
}

async function withPatience<T>(work: Promise<T>, milliseconds: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what} within ${milliseconds / 1000} s`)), milliseconds);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
