/** Names of what the engine makes in the kernel. All carry the instance; links have at most 15 characters. */
import { createHash } from 'node:crypto';

function digest(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/** Every sandbox link of the instance begins with it, so rules can name them all. */
export function linkPrefix(instance: string): string {
  return `sp${digest(instance, 5)}`;
}

export function linkName(instance: string, sandbox: string): string {
  return `${linkPrefix(instance)}${sandbox.slice(0, 8)}`;
}

/** Does not begin with `linkPrefix`. */
export function bridgeName(instance: string): string {
  return `sb${digest(instance, 5)}`;
}

/** Leads to other hosts. Begins with none of the others. */
export function overlayName(instance: string): string {
  return `so${digest(instance, 5)}`;
}

export function tableName(instance: string): string {
  return `sampan-${instance}`;
}

/** How our rules in other people's chains are told from theirs. */
export function ruleTag(instance: string): string {
  return `sampan-${instance}`;
}
