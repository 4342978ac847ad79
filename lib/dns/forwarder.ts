/**
 * Questions that are not ours, asked elsewhere and remembered. What goes out is made anew: the question in lower case and, where the asker
 * speaks EDNS, our own OPT record; nothing else that an asker wrote leaves.
 *
 * The same question while it is under way waits for the one reply. So a server that we ask, and that asks us again (a loop by the host's
 * configuration), ends up waiting for itself, once, and not for ever.
 */
import { Cache } from './cache.ts';
import { Flag, HEADER, INTERNET, type Query, RecordType, ResponseCode } from './message.ts';
import { labelsOf } from './name.ts';
import { EDNS_SIZE } from './reply.ts';
import { type Received, lessened, readReply, secondsToKeep } from './received.ts';
import { type DnsServer, Upstream } from './upstream.ts';

export interface ForwarderOptions {
  /** In the order to ask them; asked for with every question that goes out. */
  servers: () => Promise<readonly DnsServer[]>;
  signal: AbortSignal;
  now?: () => number;
}

interface Kept {
  received: Received;
  at: number;
}

/** What others say is believed for no longer, in seconds: of what is, and of what is not. */
const LONGEST = 3600;
const LONGEST_NOTHING = 300;

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #upstream = new Upstream();
  readonly #cache: Cache<Kept>;
  readonly #underWay = new Map<string, Promise<Received | undefined>>();
  readonly #now: () => number;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#cache = new Cache({ entries: 10_000, bytes: 8 * 2 ** 20, now: this.#now });
  }

  /** A reply to exactly this message; undefined where nobody answers. */
  async forward(message: Buffer, query: Query, limit: number): Promise<Buffer | undefined> {
    const received = await this.resolve(message, query);
    if (received === undefined) return undefined;
    const { bytes, end } = received;
    const isCut = bytes.length > limit;
    const reply = Buffer.from(isCut ? bytes.subarray(0, end) : bytes);
    message.copy(reply, 0, 0, 2);
    message.copy(reply, HEADER, HEADER, end);
    const flags = (reply.readUInt16BE(2) & ~Flag.recursionWanted) | (message.readUInt16BE(2) & Flag.recursionWanted);
    reply.writeUInt16BE(flags | Flag.recursionAvailable | (isCut ? Flag.truncated : 0), 2);
    if (isCut) reply.fill(0, 6, HEADER);
    return reply;
  }

  /** What is known of it, or what others say now; its times are less by what has passed. */
  async resolve(message: Buffer, query: Query): Promise<Received | undefined> {
    const question = questionFor(message, query);
    // Under one number for all, the bytes are the key.
    const key = question.toString('latin1');
    const kept = this.#cache.get(key);
    if (kept !== undefined) {
      const { received, at } = kept;
      return { ...received, bytes: lessened(received, Math.floor((this.#now() - at) / 1000)) };
    }
    let asking = this.#underWay.get(key);
    if (asking === undefined) {
      asking = this.#ask(question, query.end, key).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, asking);
    }
    return await asking;
  }

  async #ask(question: Buffer, end: number, key: string): Promise<Received | undefined> {
    const servers = await this.#options.servers();
    const asked = { message: question, end, servers, signal: this.#options.signal };
    const first = await this.#upstream.ask({ ...asked, tcp: false });
    let received = first && readReply(first);
    if (received?.truncated === true) {
      const whole = await this.#upstream.ask({ ...asked, tcp: true });
      received = (whole && readReply(whole)) ?? received;
    }
    if (received === undefined || received.end !== end) return undefined;
    const longest = received.code === ResponseCode.ok && received.answers.length > 0 ? LONGEST : LONGEST_NOTHING;
    const seconds = Math.min(secondsToKeep(received), longest);
    if (seconds > 0) {
      this.#cache.set(key, { received, at: this.#now() }, { seconds, bytes: received.bytes.length + key.length });
    }
    return received;
  }
}

function questionFor(message: Buffer, { end, edns }: Query): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt16BE(Flag.recursionWanted | (message.readUInt16BE(2) & Flag.checkingDisabled), 2);
  head.writeUInt16BE(1, 4);
  if (edns !== undefined) head.writeUInt16BE(1, 10);
  const question = Buffer.from(message.subarray(HEADER, end));
  // Lengths of labels are below `A`: only letters change.
  for (let at = 0; at < question.length - 4; at += 1) {
    const byte = question.readUInt8(at);
    if (byte >= 0x41 && byte <= 0x5a) question.writeUInt8(byte | 0x20, at);
  }
  if (edns === undefined) return Buffer.concat([head, question]);
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(RecordType.opt, 1);
  opt.writeUInt16BE(EDNS_SIZE, 3);
  if (edns.signatures) opt.writeUInt16BE(0x8000, 7);
  return Buffer.concat([head, question, opt]);
}

/** A question of our own, as an asker would put it: for what an answer of ours leads to. */
export function questionOf(name: string, type: number): { message: Buffer; query: Query } {
  const labels = labelsOf(name).flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, 'latin1')]);
  const tail = Buffer.from([0, type >> 8, type & 255, 0, INTERNET]);
  const head = Buffer.from([0, 0, Flag.recursionWanted >> 8, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  const message = Buffer.concat([head, ...labels, tail]);
  return { message, query: { id: 0, name, type, end: message.length } };
}
