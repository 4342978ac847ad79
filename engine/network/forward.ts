/**
 * The one exception to "never touch other people's rules": where a FORWARD chain drops by default (Docker does that), an accept
 * in our own table does not help, because every table must accept. Ours is put there with a comment, and removed by `purge`.
 */
import { run } from '#lib/run.ts';
import { linkPrefix, overlayName, ruleTag, tableName } from './names.ts';

interface Chain {
  family: string;
  table: string;
  name: string;
  hook?: string;
  policy?: string;
}

interface Rule {
  handle: number;
  comment?: string;
}

export class ForeignForward {
  readonly #instance: string;

  constructor(instance: string) {
    this.#instance = instance;
  }

  async ensure(): Promise<void> {
    const chains = await listChains();
    for (const chain of chains.filter((one) => one.policy === 'drop' && this.#isForeignForward(one))) {
      if (isIptables(chain)) await this.#ensureIptables(chain.family, chains);
      else await this.#ensureNft(chain);
    }
  }

  async purge(): Promise<void> {
    const chains = (await listChains()).filter((one) => this.#isForeignForward(one) && !isIptables(one));
    for (const chain of chains) {
      for (const { handle } of await this.#ownRules(chain)) {
        await run('nft', ['delete', 'rule', ...wordsOf(chain), 'handle', String(handle)]);
      }
    }
    for (const program of ['iptables', 'ip6tables']) {
      for (const chain of ['DOCKER-USER', 'FORWARD']) {
        for (const match of this.#iptablesMatches()) {
          // Fails where the rule, the chain or the program itself is not there.
          while (await succeeds(program, ['-w', '-D', chain, ...match]));
        }
      }
    }
  }

  #isForeignForward({ family, table, hook }: Chain): boolean {
    return hook === 'forward' && ['ip', 'ip6', 'inet'].includes(family) && table !== tableName(this.#instance);
  }

  async #ensureIptables(family: string, chains: Chain[]): Promise<void> {
    const program = family === 'ip6' ? 'ip6tables' : 'iptables';
    const docker = chains.some((one) => one.family === family && one.table === 'filter' && one.name === 'DOCKER-USER');
    const chain = docker ? 'DOCKER-USER' : 'FORWARD';
    for (const match of this.#iptablesMatches()) {
      if (await succeeds(program, ['-w', '-C', chain, ...match])) continue;
      await run(program, ['-w', '-I', chain, '1', ...match]);
    }
  }

  async #ensureNft(chain: Chain): Promise<void> {
    if ((await this.#ownRules(chain)).length > 0) return;
    const names = [`${linkPrefix(this.#instance)}*`, overlayName(this.#instance)];
    for (const name of names)
      for (const direction of ['iifname', 'oifname']) {
        const rule = [direction, `"${name}"`, 'accept', 'comment', `"${ruleTag(this.#instance)}"`];
        await run('nft', ['insert', 'rule', ...wordsOf(chain), ...rule]);
      }
  }

  /** Of one chain alone: a host may have rules without number, and whoever changes any of them makes a list of all begin anew. */
  async #ownRules(chain: Chain): Promise<Rule[]> {
    const { stdout, exitCode } = await run('nft', ['-j', '-a', 'list', 'chain', ...wordsOf(chain)], { allow: [1] });
    // Its owner has removed it since it was listed.
    if (exitCode !== 0) return [];
    const { nftables } = JSON.parse(stdout) as { nftables: { rule?: Rule }[] };
    return nftables
      .map(({ rule }) => rule)
      .filter((rule) => rule !== undefined)
      .filter(({ comment }) => comment === ruleTag(this.#instance));
  }

  #iptablesMatches(): string[][] {
    const names = [`${linkPrefix(this.#instance)}+`, overlayName(this.#instance)];
    const comment = ['-m', 'comment', '--comment', ruleTag(this.#instance), '-j', 'ACCEPT'];
    return names.flatMap((name) => ['-i', '-o'].map((direction) => [direction, name, ...comment]));
  }
}

function isIptables({ family, table }: { family: string; table: string }): boolean {
  return ['ip', 'ip6'].includes(family) && table === 'filter';
}

function wordsOf({ family, table, name }: Chain): string[] {
  return [family, table, name];
}

async function listChains(): Promise<Chain[]> {
  const { stdout } = await run('nft', ['-j', 'list', 'chains']);
  const { nftables } = JSON.parse(stdout) as { nftables: { chain?: Chain }[] };
  return nftables.map(({ chain }) => chain).filter((chain) => chain !== undefined);
}

async function succeeds(program: string, args: string[]): Promise<boolean> {
  try {
    await run(program, args);
    return true;
  } catch {
    // Its exit status is the answer: the rule is not there.
    return false;
  }
}
