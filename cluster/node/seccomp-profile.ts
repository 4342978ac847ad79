/**
 * Seccomp profiles of the node, for `seccompProfile.type: Localhost`: files below one directory, in the format that Kubernetes'
 * documentation uses ("Restrict a Container's Syscalls with seccomp").
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SeccompProfile, SeccompRule } from '#engine/engine.ts';
import { AgentError, messageOf } from './errors.ts';

export async function readProfile(directory: string | undefined, name: string): Promise<SeccompProfile> {
  if (directory === undefined) throw failure(name, 'this node has no directory of profiles');
  if (name === '' || name.startsWith('/') || name.split('/').includes('..'))
    throw failure(name, 'localhostProfile must be a relative path without ".."');
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(join(directory, name), 'utf8'));
  } catch (error) {
    throw failure(name, messageOf(error), error);
  }
  return profileOf(name, parsed);
}

/** Exported for its test. */
export function profileOf(name: string, parsed: unknown): SeccompProfile {
  const { defaultAction, defaultErrnoRet, architectures, archMap, syscalls } = (parsed ?? {}) as Record<
    string,
    unknown
  >;
  if (typeof defaultAction !== 'string') throw failure(name, 'defaultAction is missing');
  const mapped = asList(archMap).flatMap((one) => {
    const { architecture, subArchitectures } = one as { architecture?: string; subArchitectures?: string[] | null };
    return architecture === undefined ? [] : [architecture, ...(subArchitectures ?? [])];
  });
  return {
    defaultAction,
    ...(typeof defaultErrnoRet === 'number' && { defaultErrnoRet }),
    architectures: [...asList(architectures).map(String), ...mapped],
    syscalls: asList(syscalls).map((rule) => ruleOf(name, rule as Record<string, unknown>)),
  };
}

function ruleOf(profile: string, rule: Record<string, unknown>): SeccompRule {
  for (const field of ['includes', 'excludes'])
    if (Object.keys((rule[field] ?? {}) as object).length > 0)
      throw failure(profile, `a rule has "${field}": write the rules for this machine and these capabilities`);
  const names = rule['names'] === undefined ? [rule['name']] : asList(rule['names']);
  if (typeof rule['action'] !== 'string' || names.length === 0 || !names.every((one) => typeof one === 'string'))
    throw failure(profile, 'a rule needs names and an action');
  const { errnoRet, args } = rule;
  return {
    names: names as string[],
    action: rule['action'],
    ...(typeof errnoRet === 'number' && { errnoRet }),
    ...(asList(args).length > 0 && { args: asList(args) as NonNullable<SeccompRule['args']> }),
  };
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function failure(name: string, why: string, cause?: unknown): AgentError {
  return new AgentError('CreateContainerError', `failed to load seccomp profile "${name}": ${why}`, { cause });
}
