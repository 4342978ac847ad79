/** The network that a directory of CNI configurations names. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../../engine.ts';
import type { NetworkConfig, PluginConfig } from './cni.ts';

/** In which results are of one form. */
const VERSIONS = ['1.0.0', '0.4.0', '0.3.1', '0.3.0'];
/** Of the specification: names of networks, and of programs, which become a path. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The first file by name. Throws `unavailable`, with the file and the field. */
export function readNetworkConfig(directory: string): NetworkConfig {
  const [file] = namesIn(directory)
    .filter((name) => /\.(conflist|conf|json)$/.test(name))
    .sort();
  if (file === undefined) throw unavailable(directory, 'there is no file that ends in .conflist, .conf or .json');
  const path = join(directory, file);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw unavailable(path, (cause as Error).message, cause);
  }
  return checked(path, value);
}

function checked(path: string, value: unknown): NetworkConfig {
  if (!isObject(value)) throw unavailable(path, 'it is no object');
  const { name, cniVersion = '', disableCheck, ...rest } = value;
  if (typeof name !== 'string' || !NAME.test(name)) throw unavailable(path, `name ${JSON.stringify(name)} is none`);
  if (typeof cniVersion !== 'string' || !VERSIONS.includes(cniVersion))
    throw unavailable(path, `cniVersion ${JSON.stringify(cniVersion)} is not one of ${VERSIONS.join(', ')}`);
  // One plugin by itself is a list of one.
  const plugins = Array.isArray(rest['plugins']) ? (rest['plugins'] as unknown[]) : [rest];
  if (plugins.length === 0) throw unavailable(path, 'plugins is empty');
  for (const plugin of plugins)
    if (!isPlugin(plugin)) throw unavailable(path, `plugins has a type that is no program: ${JSON.stringify(plugin)}`);
  return { name, cniVersion, ...(disableCheck === true && { disableCheck }), plugins: plugins as PluginConfig[] };
}

function isPlugin(value: unknown): value is PluginConfig {
  return isObject(value) && typeof value['type'] === 'string' && NAME.test(value['type']);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (cause) {
    throw unavailable(directory, (cause as Error).message, cause);
  }
}

function unavailable(path: string, why: string, cause?: unknown): EngineError {
  return new EngineError('unavailable', `no CNI network: ${path}: ${why}`, { cause });
}
