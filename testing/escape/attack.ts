/** What the attacks share: system calls by number, and how an attempt is judged. Runs inside a container, on nothing but Node. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';

/** Resolves with what was won, in words; undefined, or an error, where nothing was. */
export type Attack = () => string | undefined | Promise<string | undefined>;

const x64 = {
  mount: 165,
  umount2: 166,
  unshare: 272,
  ptrace: 101,
  process_vm_readv: 310,
  add_key: 248,
  request_key: 249,
  keyctl: 250,
  syslog: 103,
  init_module: 175,
  delete_module: 176,
  bpf: 321,
  perf_event_open: 298,
  userfaultfd: 323,
  open_by_handle_at: 304,
  kexec_load: 246,
  reboot: 169,
  swapon: 167,
  clock_settime: 227,
  socket: 41,
  sendto: 44,
  ioctl: 16,
  clone: 56,
  mknodat: 259,
  acct: 163,
};
const arm64: typeof x64 = {
  mount: 40,
  umount2: 39,
  unshare: 97,
  ptrace: 117,
  process_vm_readv: 270,
  add_key: 217,
  request_key: 218,
  keyctl: 219,
  syslog: 116,
  init_module: 105,
  delete_module: 106,
  bpf: 280,
  perf_event_open: 241,
  userfaultfd: 282,
  open_by_handle_at: 265,
  kexec_load: 104,
  reboot: 142,
  swapon: 224,
  clock_settime: 112,
  socket: 198,
  sendto: 206,
  ioctl: 29,
  clone: 220,
  mknodat: 33,
  acct: 89,
};
const common = { io_uring_setup: 425, open_tree: 428, fsopen: 430, pidfd_open: 434, clone3: 435, mount_setattr: 442 };

const ffi = process.getBuiltinModule('node:ffi');
const { functions } = ffi.dlopen('libc.so.6', {
  syscall: { arguments: ['i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'], return: 'i64' },
  __errno_location: { arguments: [], return: 'pointer' },
});

type Value = number | bigint | string | Uint8Array | null;

/** @returns its result; throws an error with the errno's name as `code` */
export function call(name: keyof typeof x64 | keyof typeof common, ...values: Value[]): number {
  const numbers: Record<string, number> = { ...(process.arch === 'arm64' ? arm64 : x64), ...common };
  const held: Uint8Array[] = [];
  const plain = values.map((value) => {
    if (value === null) return 0n;
    if (typeof value === 'bigint') return value;
    if (typeof value === 'number') return BigInt(value);
    const bytes = typeof value === 'string' ? Buffer.from(`${value}\0`) : value;
    held.push(bytes);
    return ffi.getRawPointer(bytes);
  });
  const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n] = plain;
  const result = functions.syscall(BigInt(numbers[name] ?? -1), a, b, c, d, e, f);
  if (result >= 0n) return Number(result);
  const code = getSystemErrorName(-ffi.getInt32(functions.__errno_location()));
  throw Object.assign(new Error(`${name}: ${code}`), { code, held: held.length });
}

/** The error's code; undefined where it succeeded. */
export function failure(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return String((error as { code?: unknown }).code ?? error);
  }
}

/** Only opened, never written: what could be opened could be written. */
export function writable(...paths: string[]): string | undefined {
  const open = paths.filter((path) => failure(() => closeSync(openSync(path, 'r+'))) === undefined);
  return open.length === 0 ? undefined : `could write ${open.join(', ')}`;
}

export function readable(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').slice(0, 200);
  } catch {
    return undefined;
  }
}

/** What the test tells: addresses and names of the victims. */
export function victim(name: string): string {
  const value = process.env[`VICTIM_${name}`];
  if (value === undefined) throw new Error(`the test gave no VICTIM_${name}`);
  return value;
}
