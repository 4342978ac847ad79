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

/** capabilities(7), in the order of their numbers in the kernel. */
export const allCapabilities: readonly string[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
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
