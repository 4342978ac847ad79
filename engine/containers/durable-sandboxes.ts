/**
 * What is kept of sandboxes that are to outlive a boot of the machine: `<data>/engine/sandbox-records/<id>.json`, with what was
 * asked for, the address and the id range. The files of its containers belong to ids of that range, so it stays taken.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sandbox, SandboxSpec } from '../engine.ts';
import { readRecord, writeRecord } from './records.ts';

export interface DurableSandbox {
  sandbox: Sandbox;
  spec: SandboxSpec;
}

export class DurableSandboxes {
  readonly #directory: string;
  readonly #records = new Map<string, DurableSandbox>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(directory: string): Promise<DurableSandboxes> {
    const opened = new DurableSandboxes(directory);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) {
      const file = join(directory, name);
      const record = name.endsWith('.json') ? await readRecord(file, isDurableSandbox) : undefined;
      if (record === undefined) await rm(file, { force: true });
      else opened.#records.set(record.sandbox.id, record);
    }
    return opened;
  }

  list(): DurableSandbox[] {
    return [...this.#records.values()];
  }

  get(id: string): DurableSandbox | undefined {
    return this.#records.get(id);
  }

  /** Published ports are of a running sandbox, and are asked for anew with each start. */
  keep({ published: _published, lost: _lost, ...sandbox }: Sandbox, spec: SandboxSpec): void {
    const record = { sandbox, spec };
    writeRecord(this.#file(sandbox.id), record);
    this.#records.set(sandbox.id, record);
  }

  /** Idempotent. */
  async forget(id: string): Promise<void> {
    if (!this.#records.delete(id)) return;
    await rm(this.#file(id), { force: true });
  }

  #file(id: string): string {
    return join(this.#directory, `${id}.json`);
  }
}

function isDurableSandbox(value: unknown): value is DurableSandbox {
  if (typeof value !== 'object' || value === null || !('sandbox' in value) || !('spec' in value)) return false;
  const { sandbox, spec } = value;
  return (
    typeof sandbox === 'object' &&
    sandbox !== null &&
    typeof spec === 'object' &&
    spec !== null &&
    'id' in sandbox &&
    'ip' in sandbox &&
    'idRange' in sandbox &&
    typeof sandbox.id === 'string' &&
    typeof sandbox.ip === 'string'
  );
}
