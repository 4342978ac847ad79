/** What a sandbox finds by name: those of its own networks whose containers run. Pure, over what the engine knows. */
import type { Attachment, Network } from '../../networks.ts';

export interface Named {
  sandbox: string;
  attachments: readonly Attachment[];
  /** The servers that it was given for everything else. */
  servers?: readonly string[];
}

export interface NameSource {
  /** Every sandbox of a network of users. */
  sandboxes(): Iterable<Named>;
  network(id: string): Network | undefined;
  /** Whether a container of it runs. */
  isRunning(sandbox: string): boolean;
}

/** Undefined where nobody of a network has the address: then nothing is answered at all. */
export function findAsker(source: NameSource, ip: string): Named | undefined {
  for (const named of source.sandboxes()) if (named.attachments.some((one) => one.ip === ip)) return named;
  return undefined;
}

/** Addresses of either family; undefined where the name is nobody's. A name may end in the network's, `db.backend`. */
export function lookUp(source: NameSource, asker: Named, name: string): string[] | undefined {
  for (const own of asker.attachments) {
    const network = source.network(own.network);
    if (network === undefined) continue;
    const suffix = `.${network.name.toLowerCase()}`;
    const short = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
    const wanted = (Object.hasOwn(own.links, short) ? own.links[short] : undefined) ?? short;
    const found = addressesOf(source, own.network, wanted.toLowerCase());
    if (found.length > 0) return found;
  }
  return undefined;
}

/** `name.network` of the one with the address in a network that the asker is in. */
export function lookUpAddress(source: NameSource, asker: Named, ip: string): string | undefined {
  for (const { network } of asker.attachments) {
    for (const { sandbox, attachments } of source.sandboxes()) {
      const found = attachments.find((one) => one.network === network && (one.ip === ip || one.ip6 === ip));
      const [first] = found?.aliases ?? [];
      if (first !== undefined && source.isRunning(sandbox)) return `${first}.${source.network(network)?.name ?? ''}`;
    }
  }
  return undefined;
}

/** Whether it may ask other servers: not where every network of it is internal, or names would be a way out. */
export function mayAskOthers(source: NameSource, asker: Named): boolean {
  return asker.attachments.some(({ network }) => source.network(network)?.internal !== true);
}

/** In any order: who asks again spreads its connections. */
function addressesOf(source: NameSource, network: string, name: string): string[] {
  const found: string[] = [];
  for (const { sandbox, attachments } of source.sandboxes()) {
    for (const one of attachments) {
      const fits = one.network === network && one.aliases.some((alias) => alias.toLowerCase() === name);
      if (!fits || !source.isRunning(sandbox)) continue;
      for (const ip of one.ip6 === undefined ? [one.ip] : [one.ip, one.ip6])
        found.splice(Math.floor(Math.random() * (found.length + 1)), 0, ip);
    }
  }
  return found;
}
