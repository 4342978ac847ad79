/**
 * What `sampan up` was told of the engine: `<data>/engine-flags.json`, so that the agent has it after every restart and every boot of the
 * machine. The flags as they were said, not what they lead to: a file of logins is read anew at each start.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { type EngineFlags, type EngineSettings, engineSettings } from './commands/engine-flags.ts';
import type { Instance } from './instance.ts';

const fileOf = ({ dataDirectory }: Instance): string => join(dataDirectory, 'engine-flags.json');

/** Each stays until it is given anew. */
export function mergedFlags(kept: EngineFlags, given: EngineFlags): EngineFlags {
  const { registryAuth } = given;
  return { ...kept, ...given, ...(registryAuth === undefined ? {} : { registryAuth: resolve(registryAuth) }) };
}

export function keptFlags(instance: Instance): EngineFlags {
  const file = fileOf(instance);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as EngineFlags) : {};
}

export async function keepFlags(instance: Instance, flags: EngineFlags): Promise<void> {
  await writeFileAtomic(fileOf(instance), `${JSON.stringify(flags, null, 2)}\n`);
}

/**
 * They were checked when they were said; a file of logins that has gone since keeps no node from starting. What pods may have, the engine
 * must allow.
 */
export function keptSettings(instance: Instance, onError: (what: string, error: unknown) => void): EngineSettings {
  const { registryAuth, ...flags } = keptFlags(instance);
  const said = engineSettings(flags);
  const settings = { ...said, allowedRisks: [...new Set([...(said.allowedRisks ?? []), ...(instance.risks ?? [])])] };
  if (registryAuth === undefined) return settings;
  try {
    return { ...settings, registries: engineSettings({ registryAuth }).registries };
  } catch (error) {
    onError('the engine has no logins to other registries', error);
    return settings;
  }
}
