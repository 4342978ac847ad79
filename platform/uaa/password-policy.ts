/**
 * What a new password must be, for users that are made or changed through the API. An administrator's own rules are in the
 * ConfigMap `uaa-password-policy` of the system namespace, whole numbers by these names; what is absent is 0.
 */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import { configMaps } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';
import { UaaError } from './uaa.ts';

const NAME = 'uaa-password-policy';

interface Rule {
  count: (password: string) => number;
  refusal: (limit: number) => string;
  /** There may be no more than the policy says, rather than no fewer. */
  isMost?: boolean;
}

/** Each in UAA's words, with the number that the policy has; 0 asks for nothing. */
const RULES: Record<string, Rule> = {
  minLength: {
    count: (password) => [...password].length,
    refusal: (least) => `Password must be at least ${least} characters in length.`,
  },
  maxLength: {
    count: (password) => [...password].length,
    refusal: (most) => `Password must be no more than ${most} characters in length.`,
    isMost: true,
  },
  requireUpperCaseCharacter: {
    count: (password) => matches(password, /\p{Lu}/gu),
    refusal: (least) => `Password must contain at least ${least} uppercase characters.`,
  },
  requireLowerCaseCharacter: {
    count: (password) => matches(password, /\p{Ll}/gu),
    refusal: (least) => `Password must contain at least ${least} lowercase characters.`,
  },
  requireDigit: {
    count: (password) => matches(password, /\p{Nd}/gu),
    refusal: (least) => `Password must contain at least ${least} digit characters.`,
  },
  requireSpecialCharacter: {
    count: (password) => matches(password, /[^\p{L}\p{N}]/gu),
    refusal: (least) => `Password must contain at least ${least} special characters.`,
  },
};

/** Rejects with `invalid_password`, all that is wrong in one message. */
export async function checkPassword(client: Client, password: string): Promise<void> {
  if (password === '') throw new UaaError('invalid_password', 'Password must be given');
  const policy = await readPolicy(client);
  const problems = Object.entries(RULES)
    .filter(([name, rule]) => isBroken(rule, policy[name] ?? 0, password))
    .map(([name, { refusal }]) => refusal(policy[name] ?? 0));
  if (problems.length > 0) throw new UaaError('invalid_password', problems.join(' '));
}

function isBroken({ count, isMost }: Rule, limit: number, password: string): boolean {
  if (limit === 0) return false;
  return isMost ? count(password) > limit : count(password) < limit;
}

async function readPolicy(client: Client): Promise<Record<string, number>> {
  const policy = await orUndefined(client.get(configMaps, NAME, systemNamespace));
  return Object.fromEntries(Object.entries(policy?.data ?? {}).map(([name, value]) => [name, Number(value) || 0]));
}

function matches(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}
