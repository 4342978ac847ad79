/** Capability sets by name, without `CAP_`. */
import { EngineError } from '../engine.ts';

/** What a container has where its spec says nothing: Docker's default. */
export const defaultCapabilities: readonly string[] = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];

/** capabilities(7). */
const allCapabilities: readonly string[] = [
  ...defaultCapabilities,
  'AUDIT_CONTROL',
  'AUDIT_READ',
  'BLOCK_SUSPEND',
  'BPF',
  'CHECKPOINT_RESTORE',
  'DAC_READ_SEARCH',
  'IPC_LOCK',
  'IPC_OWNER',
  'LEASE',
  'LINUX_IMMUTABLE',
  'MAC_ADMIN',
  'MAC_OVERRIDE',
  'NET_ADMIN',
  'NET_BROADCAST',
  'PERFMON',
  'SYSLOG',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_MODULE',
  'SYS_NICE',
  'SYS_PACCT',
  'SYS_PTRACE',
  'SYS_RAWIO',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'WAKE_ALARM',
];

/** The default with the changes: drops first, so that `drop: ALL, add: X` leaves X. Sorted. */
export function resolveCapabilities(change: { add?: string[]; drop?: string[] } = {}): string[] {
  const normalize = (field: string, names: string[] = []): string[] =>
    names.map((name) => {
      const plain = name.toUpperCase().replace(/^CAP_/, '');
      if (plain !== 'ALL' && !allCapabilities.includes(plain)) {
        throw new EngineError('invalid', `capabilities.${field}: "${name}" is no capability; see capabilities(7)`);
      }
      return plain;
    });
  const drop = normalize('drop', change.drop);
  const add = normalize('add', change.add);
  const set = new Set(drop.includes('ALL') ? [] : defaultCapabilities.filter((name) => !drop.includes(name)));
  for (const name of add.includes('ALL') ? allCapabilities.filter((one) => !drop.includes(one)) : add) set.add(name);
  return [...set].sort();
}
