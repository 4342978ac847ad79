/**
 * The server for names of user-defined networks: one socket each for UDP and TCP on this host's gateway address of the pod range.
 * The table leads questions of those networks to it, and drops what comes from elsewhere. Who asks is told by the
 * source address, which nobody can forge.
 *
 * What one sandbox may keep busy is bounded, so that it cannot take names away from the others.
 */
import { DnsListener } from '#lib/dns/listener.ts';
import { type Query, RecordType, ResponseCode, readQuery } from '#lib/dns/message.ts';
import { addressOfPointer } from '#lib/dns/name.ts';
import { type ResourceRecord, addressRecord, nameRecord } from '#lib/dns/record.ts';
import { sizeLimit, writeRefusal, writeReply } from '#lib/dns/reply.ts';
import { type DnsServer, Upstream } from '#lib/dns/upstream.ts';
import { Tally } from '#lib/tally.ts';
import { type NameSource, type Named, findAsker, lookUp, lookUpAddress, mayAskOthers } from './names.ts';

export interface NameServerOptions {
  address: string;
  /** Keeps the port, so that a restarted engine is where those who wait for an answer ask. */
  portFile: string;
  source: NameSource;
  /** This host's own servers. */
  hostServers: () => Promise<DnsServer[]>;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

const QUESTIONS_EACH = 64;
/** Names come and go with containers. */
const SECONDS_TO_LIVE = 5;

export class NameServer {
  readonly #options: NameServerOptions;
  readonly #upstream = new Upstream();
  readonly #closing = new AbortController();
  readonly #asking = new Tally();
  #listener: DnsListener | undefined;

  private constructor(options: NameServerOptions) {
    this.#options = options;
  }

  static async open(options: NameServerOptions): Promise<NameServer> {
    const { address, portFile, source, log } = options;
    const server = new NameServer(options);
    server.#listener = await DnsListener.open({
      address,
      portFile,
      answer: (message, from) => server.answer(message, from),
      knows: (ip) => findAsker(source, ip) !== undefined,
      onError: (error) => log('warn', 'the server for names', { error: String(error) }),
    });
    return server;
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#listener?.close();
  }

  /** Undefined: nothing is answered. */
  async answer(message: Buffer, from: { ip: string; tcp: boolean }): Promise<Buffer | undefined> {
    const { source } = this.#options;
    const asker = findAsker(source, from.ip);
    if (asker === undefined) return undefined;
    const query = readQuery(message);
    if (query === undefined) return undefined;
    if (typeof query === 'number') return writeRefusal(message, query);
    const limit = sizeLimit(query, from.tcp);
    const own = this.#ownAnswers(asker, query);
    if (own !== undefined) return writeReply(message, query, { answers: own, limit });
    return (
      (await this.#others(message, query, { asker, tcp: from.tcp })) ??
      writeReply(message, query, { code: ResponseCode.serverFailure })
    );
  }

  /** Undefined where the name is none of ours; an empty list where we have nothing of that type. */
  #ownAnswers(asker: Named, { name, type }: Query): ResourceRecord[] | undefined {
    const { source } = this.#options;
    if (name === undefined || name === '') return undefined;
    if (type === RecordType.ptr) {
      const ip = addressOfPointer(name);
      const found = ip === undefined ? undefined : lookUpAddress(source, asker, ip);
      return found === undefined ? undefined : [nameRecord('ptr', name, SECONDS_TO_LIVE, found)];
    }
    const addresses = lookUp(source, asker, name);
    if (addresses === undefined) return undefined;
    const records = addresses.map((ip) => addressRecord(name, SECONDS_TO_LIVE, ip));
    return records.filter((record) => type === RecordType.any || type === record.type);
  }

  async #others(
    message: Buffer,
    query: Query,
    { asker, tcp }: { asker: Named; tcp: boolean },
  ): Promise<Buffer | undefined> {
    const { source, hostServers } = this.#options;
    const { sandbox, servers = [] } = asker;
    if (!mayAskOthers(source, asker) || this.#asking.of(sandbox) >= QUESTIONS_EACH) return undefined;
    this.#asking.add(sandbox, 1);
    try {
      return await this.#upstream.ask({
        message,
        end: query.end,
        servers: servers.length > 0 ? servers.map((address) => ({ address, port: 53 })) : await hostServers(),
        tcp,
        signal: this.#closing.signal,
      });
    } finally {
      this.#asking.add(sandbox, -1);
    }
  }
}
