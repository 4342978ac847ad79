/**
 * The contract of networks by plugins: sandboxes get their `eth0` from programs as the Container Network Interface specification has them
 * (version 1.0.0; https://www.cni.dev/docs/spec/), instead of from this room.
 *
 * - A directory of configurations is named; its first file by name that ends in `.conflist`, `.conf` or `.json` is the network, read anew
 *   for each sandbox. Programs are found in a list of directories by their `type`, and started with `CNI_COMMAND`, `CNI_CONTAINERID`,
 *   `CNI_NETNS`, `CNI_IFNAME=eth0`, `CNI_ARGS`, `CNI_PATH` in their environment and JSON on their standard input.
 * - ADD goes through the list of plugins, each with the result of the one before; DEL through it backwards. What DEL and CHECK need (the
 *   configuration as it was, the result, the arguments) is kept on disk, before ADD begins and until DEL has succeeded: a crash at any moment
 *   leaves a record, by which DEL is done when an engine opens, also after a boot of the machine. A plugin that fails at ADD has DEL done at
 *   once. DEL is never taken back: what fails stays recorded and is tried again at the next start.
 * - What the room does elsewhere it does not do here: there is no pool of addresses, no IPv6 but what plugins give, no egress
 *   isolation (`SandboxSpec.egress`), no networks of users, no other hosts. Published ports lead to the address that ADD gave.
 */
import type { EngineOptions } from '../../options.ts';

export interface CniOptions {
  configDirectory: string;
  /** Where programs are, the first that has one wins. */
  binDirectories: readonly string[];
}

/** Where distributions and kubelets have them. */
export const defaultCni: CniOptions = {
  configDirectory: '/etc/cni/net.d',
  binDirectories: ['/usr/lib/cni', '/opt/cni/bin'],
};

export interface CniRoom extends CniOptions {
  /** Keeps what was added; outlives a boot. */
  directory: string;
  /** False: only what an earlier engine added is taken back. */
  isActive: boolean;
  log: NonNullable<EngineOptions['log']>;
}

export interface PlugRequest {
  sandbox: string;
  namespacePath: string;
  /** `CNI_ARGS`. */
  args: Readonly<Record<string, string>>;
}

/** What a sandbox got. */
export interface Plugged {
  ip: string;
  ip6?: string;
  mac?: string;
}

/** One plugin's part of a list. */
export interface PluginConfig {
  type: string;
  capabilities?: Record<string, boolean>;
  [key: string]: unknown;
}

export interface NetworkConfig {
  name: string;
  cniVersion: string;
  disableCheck?: boolean;
  plugins: PluginConfig[];
}

/** Of the specification; what nobody here reads is passed on as it is. */
export interface CniResult {
  interfaces?: { name?: string; mac?: string; sandbox?: string }[];
  ips?: { address?: string; interface?: number }[];
  [key: string]: unknown;
}
