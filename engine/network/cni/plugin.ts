/** Runs one CNI plugin: a program with words in its environment and JSON on its standard streams. */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { RunError, run } from '#lib/run.ts';
import { EngineError } from '../../engine.ts';
import type { CniResult, NetworkConfig, PluginConfig } from './cni.ts';

/** A plugin may ask servers elsewhere. */
const PATIENCE = 120_000;

export type CniCommand = 'ADD' | 'DEL' | 'CHECK';

export interface PluginCall {
  command: CniCommand;
  network: NetworkConfig;
  plugin: PluginConfig;
  sandbox: string;
  /** Empty where it has gone. */
  namespacePath: string;
  args: Readonly<Record<string, string>>;
  binDirectories: readonly string[];
  previous?: CniResult;
}

/** What ADD says; nothing of the others. Rejects with `unavailable`, in the plugin's words. */
export async function callPlugin(call: PluginCall): Promise<CniResult> {
  const { command, network, plugin, binDirectories } = call;
  const { capabilities: _asked, ...own } = plugin;
  const input = JSON.stringify({
    ...own,
    cniVersion: network.cniVersion,
    name: network.name,
    ...(call.previous !== undefined && { prevResult: call.previous }),
  });
  const env = {
    PATH: process.env.PATH,
    CNI_COMMAND: command,
    CNI_CONTAINERID: call.sandbox,
    CNI_NETNS: call.namespacePath,
    CNI_IFNAME: 'eth0',
    CNI_ARGS: argsText(call.args),
    CNI_PATH: binDirectories.join(':'),
  };
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const { stdout } = await run(programOf(plugin.type, binDirectories), [], { input, env, signal });
    return command === 'ADD' ? (JSON.parse(stdout) as CniResult) : {};
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError(
      'unavailable',
      `CNI plugin ${plugin.type} (${network.name}) failed at ${command}: ${reasonOf(cause)}`,
      {
        cause,
      },
    );
  }
}

/** A semicolon would begin another. */
function argsText(args: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(args).filter(([, value]) => !value.includes(';'));
  return pairs.map(([name, value]) => `${name}=${value}`).join(';');
}

function programOf(type: string, directories: readonly string[]): string {
  for (const directory of directories) {
    const path = join(directory, type);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // In another directory, perhaps.
    }
  }
  throw new EngineError(
    'unavailable',
    `there is no CNI plugin "${type}" in ${directories.join(', ')}: install it (Debian: containernetworking-plugins), or name its directory`,
  );
}

/** The specification's error object, which plugins write to their standard output. */
function reasonOf(error: unknown): string {
  if (!(error instanceof RunError)) return error instanceof Error ? error.message : String(error);
  try {
    const { msg = '', details = '' } = JSON.parse(error.stdout) as { msg?: string; details?: string };
    return [msg, details].filter((part) => part !== '').join('; ');
  } catch {
    return error.message;
  }
}
