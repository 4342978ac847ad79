import { Agent, type AgentOptions, request } from 'node:https';
import type { LookupFunction } from 'node:net';
import { lookup as systemLookup } from 'node:dns';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { outsideTls } from '#lib/authorities.ts';
import { UnreachableError } from './errors.ts';
import { addressOf, type Target } from './target.ts';

export interface Call {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer | Readable;
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: IncomingMessage;
}

/** HTTPS requests to one target over connections that are kept. */
export class Http {
  readonly #target: Target;
  readonly #agent: Agent;

  constructor(target: Target) {
    this.#target = target;
    this.#agent = new Agent({
      keepAlive: true,
      ...(target.ca && target.dial ? { ca: target.ca } : outsideTls(target.ca)),
      lookup: lookupFor(target),
    } as AgentOptions);
  }

  send(url: string, call: Call = {}): Promise<Answer> {
    return new Promise((answer, fail) => {
      const outgoing = request(
        url,
        {
          method: call.method ?? 'GET',
          agent: this.#agent,
          // Who names no host is offered the instance's own certificate, whoever else gave one for the host: `ca` is its authority's.
          ...(isDialled(this.#target, new URL(url).hostname) ? { servername: '' } : {}),
          headers: headersOf(call),
          ...(call.signal ? { signal: call.signal } : {}),
        },
        (response) => answer({ status: response.statusCode ?? 0, headers: response.headers, body: response }),
      );
      outgoing.once('error', (error) => fail(unreachable(url, error)));
      if (call.body === undefined || typeof call.body === 'string' || Buffer.isBuffer(call.body))
        outgoing.end(call.body);
      else pipeline(call.body, outgoing).catch(fail);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

export async function readText(body: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

function headersOf(call: Call): Record<string, string> {
  const length: Record<string, string> =
    typeof call.body === 'string' || Buffer.isBuffer(call.body)
      ? { 'content-length': String(Buffer.byteLength(call.body)) }
      : {};
  return { accept: 'application/json', 'user-agent': 'sampan', ...length, ...call.headers };
}

function unreachable(url: string, error: Error): Error {
  if (error.name === 'AbortError') return error;
  return new UnreachableError(
    `Cannot reach ${new URL(url).host}: ${error.message || (error as NodeJS.ErrnoException).code}.`,
    'Is the platform up? See `sampan status`.',
    { cause: error },
  );
}

function isDialled(target: Target, host: string): boolean {
  return addressOf(target, host) !== host;
}

function lookupFor(target: Target): LookupFunction {
  return (host, options, done) => {
    const address = addressOf(target, host);
    if (address === host) systemLookup(host, options, done);
    else if (options.all) done(null, [{ address, family: 4 }]);
    else done(null, address, 4);
  };
}
