/**
 * Which of a policy's outgoing connections the kernel's log is told of, for which NetworkPolicies have no word: an annotation of theirs, a
 * list in JSON of places in `spec.egress`. What is no such thing is left out: it logs nothing. Pure but for `canLog`.
 *
 * A line begins with `OK_<namespace>/<policy> `, as those of Cloud Foundry's cells do, and has source, destination, protocol and ports as
 * netfilter writes them. It is written for the first packet of a connection, whatever other rule lets it out too, and a policy has a
 * hundred lines a second on each node: what is more is not logged, and let out all the same.
 */
import { run } from '#lib/run.ts';
import type { Chain } from '../services/table.ts';

export const logAnnotation = 'policy.sampan.dev/log-egress';

const RATE = '100/second';
/** The kernel takes 127 characters. */
const LONGEST_PREFIX = 100;

export function loggedPlaces(text: string | undefined): ReadonlySet<unknown> {
  try {
    const listed: unknown = JSON.parse(text ?? '[]');
    return new Set(Array.isArray(listed) ? listed : []);
  } catch {
    return new Set();
  }
}

/** What a packet that is to be logged goes through. @param name  of namespaces and policies: nothing that needs quoting */
export function logChain(name: string): Chain {
  const prefix = `OK_${name}`.slice(0, LONGEST_PREFIX);
  return { kind: 'chain', rules: [`ct state new limit rate ${RATE} log prefix "${prefix} "`] };
}

/** Kernels may be built without it; one that is would refuse all rules for this one. */
export async function canLog(): Promise<boolean> {
  const input = `table inet probe { chain probe { ${logChain('probe').rules.join('; ')}; }; }\n`;
  return (await run('nft', ['--check', '-f', '-'], { input, allow: [1] })).exitCode === 0;
}
