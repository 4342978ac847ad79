import { readFileSync } from 'node:fs';

let known: string | undefined;

/** Another one after each boot of the machine. */
export function bootId(): string {
  known ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return known;
}
