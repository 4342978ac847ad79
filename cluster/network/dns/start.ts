/** Starts the cluster's name server: see `dns.ts`. */
import { Forwarder, questionOf } from '#lib/dns/forwarder.ts';
import { DnsListener } from '#lib/dns/listener.ts';
import { type Query, ResponseCode, readQuery } from '#lib/dns/message.ts';
import { answersOf } from '#lib/dns/received.ts';
import { sizeLimit, writeRefusal, writeReply } from '#lib/dns/reply.ts';
import { hostServers } from '#lib/dns/resolv-conf.ts';
import { run } from '#lib/run.ts';
import { Tally } from '#lib/tally.ts';
import type { Client, Informer } from '../../client/client.ts';
import type { Pod } from '../../kinds/types/core.ts';
import { KernelTable } from '../services/kernel-table.ts';
import { tableName } from '../tables.ts';
import { type OwnReply, ownReply } from './answer.ts';
import type { ClusterDns, ClusterView, DnsOptions } from './dns.ts';
import { renderDnsTable } from './rules.ts';
import { createView } from './view.ts';

const QUESTIONS_EACH = 64;

/**
 * Resolves when it answers, which it does when all that it answers from is known: until then a question is refused at once, and not told
 * that there is no such name.
 */
export async function startDns(options: DnsOptions & { client: Client; pods: Informer<Pod> }): Promise<ClusterDns> {
  const { client, pods, instance, log } = options;
  const { view, synced, close } = createView(client, pods, (error) =>
    log('warn', 'the name server lost a watch; it is tried again', { error: String(error) }),
  );
  await synced;
  const closing = new AbortController();
  const answerer = new Answerer(options, view, closing.signal);
  const listener = await DnsListener.open({
    address: options.gateway,
    portFile: options.portFile,
    answer: (message, from) => answerer.answer(message, from),
    // The table lets nobody else through.
    knows: () => true,
    onError: (error) => log('warn', 'the name server', { error: String(error) }),
  });
  const onError = (error: unknown): void => log('error', "the name server's table", { error: String(error) });
  const table = new KernelTable(tableName(instance, 'dns'), onError);
  const rules = renderDnsTable(options, listener.port);
  await table.write(rules);
  await forgetQuestions(options.clusterIp).catch(onError);
  table.watch(() => {
    log('warn', 'rules of the name server were taken out by somebody else: putting them back');
    table.write(rules).catch(onError);
  });
  return {
    port: listener.port,
    async close() {
      closing.abort();
      close();
      table.close();
      await listener.close();
    },
  };
}

/**
 * Who asks again from one port is led by what the kernel remembers of the first question: to a port of before, or nowhere, where that
 * came while there was no table. So it forgets.
 */
async function forgetQuestions(clusterIp: string): Promise<void> {
  const questions = ['-f', 'ipv4', '-p', 'udp', '--orig-dst', clusterIp, '--orig-port-dst', '53'];
  // Its exit status is 1 where there were none.
  await run('conntrack', ['-D', ...questions], { allow: [1] });
}

/** What is answered to one message, without a socket. */
export class Answerer {
  readonly #options: DnsOptions;
  readonly #view: ClusterView;
  readonly #forwarder: Forwarder;
  readonly #asking = new Tally();

  constructor(options: DnsOptions, view: ClusterView, signal: AbortSignal) {
    const { servers = () => hostServers(), clusterIp, gateway } = options;
    this.#options = options;
    this.#view = view;
    this.#forwarder = new Forwarder({
      servers: async () => (await servers()).filter(({ address }) => address !== clusterIp && address !== gateway),
      signal,
    });
  }

  /** Undefined: nothing. */
  async answer(message: Buffer, { ip, tcp }: { ip: string; tcp: boolean }): Promise<Buffer | undefined> {
    const query = readQuery(message);
    if (query === undefined) return undefined;
    if (typeof query === 'number') return writeRefusal(message, query);
    if ((query.edns?.version ?? 0) > 0) return writeReply(message, query, { code: ResponseCode.badVersion });
    const limit = sizeLimit(query, tcp);
    const own = ownReply(this.#options, this.#view, query);
    if (own !== undefined && own.leadsTo === undefined) return writeReply(message, query, { ...own, limit });
    const failure = { code: ResponseCode.serverFailure };
    if (this.#asking.of(ip) >= QUESTIONS_EACH) return writeReply(message, query, failure);
    this.#asking.add(ip, 1);
    try {
      if (own?.leadsTo !== undefined)
        return writeReply(message, query, { ...(await this.#follow(own, own.leadsTo, query.type)), limit });
      return (await this.#forwarder.forward(message, query, limit)) ?? writeReply(message, query, failure);
    } finally {
      this.#asking.add(ip, -1);
    }
  }

  /** An alias that leads out, with what others say of where it leads. */
  async #follow(own: OwnReply, name: string, type: Query['type']): Promise<OwnReply> {
    const { message, query } = questionOf(name, type);
    const received = await this.#forwarder.resolve(message, query);
    const answers = received && answersOf(received);
    if (received === undefined || answers === undefined) return { ...own, code: ResponseCode.serverFailure };
    const code = received.code === ResponseCode.noSuchName ? ResponseCode.noSuchName : ResponseCode.ok;
    return { ...own, code, answers: [...own.answers, ...answers] };
  }
}
