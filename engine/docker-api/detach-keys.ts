/** The keys that take a client away from a terminal and leave the container running: `ctrl-p,ctrl-q` by default. */
import { DockerError } from './errors.ts';

const DEFAULT_KEYS = 'ctrl-p,ctrl-q';

export function parseKeys(text: string): Buffer {
  const codes = (text || DEFAULT_KEYS).split(',').map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) - 64;
    if (key.length === 1) return key.charCodeAt(0);
    throw new DockerError(
      400,
      `invalid detach keys (${text}) provided: ${JSON.stringify(key)} is no key such as a or ctrl-a`,
    );
  });
  return Buffer.from(codes);
}

/** Holds back what may be the beginning of the keys. */
export class DetachKeys {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  push(chunk: Buffer): { bytes: Buffer; detached: boolean } {
    const passed: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched += 1;
        if (this.#matched === this.#keys.length) return { bytes: Buffer.from(passed), detached: true };
        continue;
      }
      passed.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) passed.push(byte);
    }
    return { bytes: Buffer.from(passed), detached: false };
  }
}
