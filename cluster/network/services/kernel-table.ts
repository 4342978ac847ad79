/** The instance's table in the kernel: brought to a wanted state by the least that leads there. */
import { nft } from '#lib/nft.ts';
import { RuleWatch } from '#lib/rule-watch.ts';
import { run } from '#lib/run.ts';
import { difference, type Inventory, replacement, type Table, takeover } from './table.ts';

export class KernelTable {
  readonly #name: string;
  readonly #onRejected: (error: unknown) => void;
  /** As it was written last; undefined where nobody knows what is there. */
  #written: Table | undefined;
  #watch: RuleWatch | undefined;

  /** @param onRejected  told when the kernel did not take a difference, and everything is written instead */
  constructor(name: string, onRejected: (error: unknown) => void) {
    this.#name = name;
    this.#onRejected = onRejected;
  }

  /** @param onLost  somebody removed the table: it is to be written again */
  watch(onLost: () => void): void {
    const removal = `delete table inet ${this.#name}`;
    this.#watch ??= new RuleWatch(
      (line) => line === removal,
      () => {
        void this.#inventory().then((there) => {
          // A replacement of our own is a removal too.
          if (there !== undefined) return;
          this.#written = undefined;
          onLost();
        }, this.#onRejected);
      },
    );
  }

  /** One transaction, or none where nothing differs. One that is rejected has changed nothing. */
  async write(wanted: Table): Promise<void> {
    const script = await this.#script(wanted);
    if (script !== '') {
      // Until it is known to be there.
      this.#written = undefined;
      try {
        await nft(script);
      } catch (error) {
        this.#onRejected(error);
        await nft(replacement(this.#name, wanted));
      }
    }
    this.#written = wanted;
  }

  close(): void {
    this.#watch?.close();
  }

  async #script(wanted: Table): Promise<string> {
    if (this.#written !== undefined) return difference(this.#name, this.#written, wanted);
    const there = await this.#inventory();
    return there === undefined ? replacement(this.#name, wanted) : takeover(this.#name, there, wanted);
  }

  /** Undefined where there is no such table. */
  async #inventory(): Promise<Inventory | undefined> {
    const { stdout, exitCode } = await run('nft', ['-j', '-t', 'list', 'table', 'inet', this.#name], { allow: [1] });
    if (exitCode !== 0) return undefined;
    const found = new Map<string, 'chain' | 'set' | 'map'>();
    const { nftables } = JSON.parse(stdout) as { nftables: Record<string, { name?: string } | undefined>[] };
    for (const entry of nftables) {
      for (const kind of ['chain', 'set', 'map'] as const) {
        const name = entry[kind]?.name;
        if (name !== undefined) found.set(name, kind);
      }
    }
    return found;
  }
}

/** Idempotent. */
export async function removeTable(name: string): Promise<void> {
  await nft(`table inet ${name} {}\ndelete table inet ${name}\n`);
}
