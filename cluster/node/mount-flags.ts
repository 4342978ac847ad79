/** What the `mountOptions` of a PersistentVolume say of a directory of this host, which is mounted already: how pods see it. */
import { AgentError } from './errors.ts';

export interface MountFlags {
  readOnly?: true;
  noExec?: true;
  noAccessTime?: true;
}

const FLAGS: Readonly<Record<string, MountFlags>> = {
  ro: { readOnly: true },
  noexec: { noExec: true },
  noatime: { noAccessTime: true },
  // What holds anyway.
  ...Object.fromEntries(['bind', 'rbind', 'rw', 'nosuid', 'nodev', 'relatime', 'defaults'].map((name) => [name, {}])),
};

/** Rejects with `FailedMount` what needs a file system that is mounted anew. */
export function mountFlags(options: readonly string[]): MountFlags {
  const flags: MountFlags = {};
  for (const option of options.flatMap((one) => one.split(',')).map((one) => one.trim())) {
    const found = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined;
    if (found === undefined)
      throw new AgentError(
        'FailedMount',
        `mount option ${JSON.stringify(option)} is not supported for a directory: use ro, noexec or noatime, or make the volume of its device`,
      );
    Object.assign(flags, found);
  }
  return flags;
}
