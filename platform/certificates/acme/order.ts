/** Drives one order to its end (RFC 8555, 7.4), from wherever an earlier process left it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { AcmeClient, Authorization, Order } from './client.ts';
import type { Challenges } from './challenges.ts';
import { AcmeError, textOf, typeOf } from './problem.ts';

const FIRST_PAUSE = 500;
const LAST_PAUSE = 10_000;
const PATIENCE = 10 * 60_000;

export interface ObtainOptions {
  client: AcmeClient;
  challenges: Challenges;
  hosts: readonly string[];
  /** Certificate request, DER. */
  request: Buffer;
  /** Address of the order that was made for this request, where there is one. */
  kept: string | undefined;
  /** Resolves when the address is kept. */
  keep: (order: string) => Promise<void>;
  signal: AbortSignal;
  now: () => number;
}

/** Resolves with the chain, PEM. Rejects with `AcmeError`; the server's own words are in it. */
export async function obtainCertificate(options: ObtainOptions): Promise<string> {
  const { client, request } = options;
  let order = await openOrder(options);
  if (order.status === 'pending') {
    for (const url of order.authorizations) await authorize(url, options);
    order = await decided(options, order, ['pending']);
  }
  if (order.status === 'ready') order = await client.finalize(order, request);
  order = await decided(options, order, ['ready', 'processing']);
  if (order.status !== 'valid' || order.certificate === undefined) throw refusedOrder(order);
  return await client.certificate(order.certificate);
}

async function openOrder({ client, hosts, kept, keep }: ObtainOptions): Promise<Order> {
  const known = kept === undefined ? undefined : await client.order(kept);
  if (known !== undefined && known.status !== 'invalid') return known;
  const made = await client.newOrder(hosts);
  await keep(made.url);
  return made;
}

async function authorize(url: string, options: ObtainOptions): Promise<void> {
  const { client, challenges, signal } = options;
  const asked = await client.authorization(url);
  if (asked.status === 'valid') return;
  const host = asked.identifier.value;
  const challenge = asked.challenges.find(({ type }) => type === 'http-01');
  if (asked.status !== 'pending' || challenge?.token === undefined) throw refusedHost(asked);
  const { token } = challenge;
  const answer = await client.keyAuthorization(token);
  const end = await challenges.during(token, answer, signal, async () => {
    // One that was told before, by who died meanwhile, is being looked at.
    if (challenge.status === 'pending') await client.respond(challenge.url);
    return await polled(
      options,
      `the check of ${host}`,
      () => client.authorization(url),
      ({ status }) => status !== 'pending',
    );
  });
  if (end.status !== 'valid') throw refusedHost(end);
}

async function decided(options: ObtainOptions, order: Order, open: readonly Order['status'][]): Promise<Order> {
  if (!open.includes(order.status)) return order;
  const again = async (): Promise<Order> => {
    const found = await options.client.order(order.url);
    if (found === undefined) throw new AcmeError('invalid-order', 'the server has forgotten the order');
    return found;
  };
  return await polled(options, 'the order', again, ({ status }) => !open.includes(status));
}

/** The protocol has no event: the server is asked again, when it says so. */
async function polled<T extends { again: number | undefined }>(
  { signal, now }: Pick<ObtainOptions, 'signal' | 'now'>,
  what: string,
  ask: () => Promise<T>,
  isEnd: (answer: T) => boolean,
): Promise<T> {
  const until = now() + PATIENCE;
  for (let pause = FIRST_PAUSE; ; pause = Math.min(LAST_PAUSE, pause * 1.5)) {
    const answer = await ask();
    if (isEnd(answer)) return answer;
    const next = Math.max(now() + pause, answer.again ?? 0);
    if (next > until) throw new AcmeError('invalid-order', `the server did not decide on ${what} within ten minutes`);
    await delay(next - now(), undefined, { signal });
  }
}

function refusedOrder({ status, error }: Order): AcmeError {
  if (error === undefined) return new AcmeError('invalid-order', `the order ended as ${status}`);
  return new AcmeError('invalid-order', textOf(error), { type: typeOf(error) });
}

function refusedHost({ status, identifier, challenges }: Authorization): AcmeError {
  const error = challenges.find((challenge) => challenge.error !== undefined)?.error;
  if (error !== undefined)
    return new AcmeError('invalid-order', `${identifier.value}: ${textOf(error)}`, { type: typeOf(error) });
  const offered = challenges.map(({ type }) => type).join(', ');
  return new AcmeError(
    'invalid-order',
    `${identifier.value}: its authorization is ${status}, by ${offered || 'nothing'}`,
  );
}
