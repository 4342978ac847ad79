/** The instance's table in the kernel: brought to a wanted state by the least that leads there. */
import { setTimeout as delay } from 'node:timers/promises';
import { nft } from '#lib/nft.ts';
import { run } from '#lib/run.ts';
import { stamped, TableWatch } from '#lib/table-watch.ts';
import { difference, type Inventory, replacement, type Table, takeover } from './table.ts';

/** Milliseconds between two looks at a table that is being written. */
const LOOK_AGAIN = 100;

/** Objects, and how many rules or elements they have. */
interface Found {
  inventory: Inventory;
  sizes: ReadonlyMap<string, number>;
}

interface Listed {
  name?: string;
  /** Of a rule. */
  chain?: string;
  elem?: unknown[];
}

export class KernelTable {
  readonly #name: string;
  readonly #onRejected: (error: unknown) => void;
  /** As it was written last; undefined where nobody knows what is there. */
  #written: Table | undefined;
  /** Counts what happens to the table, so that who looked knows whether it is still so. */
  #changes = 0;
  #writing = 0;
  #watch: TableWatch | undefined;

  /** @param onRejected  told when the kernel did not take a difference, and everything is written instead */
  constructor(name: string, onRejected: (error: unknown) => void) {
    this.#name = name;
    this.#onRejected = onRejected;
  }

  /** @param onLost  somebody else took something out of it: it is to be written again */
  watch(onLost: () => void): void {
    const lose = (): void => {
      this.#changes++;
      this.#written = undefined;
      onLost();
    };
    this.#watch ??= new TableWatch(this.#name, {
      isKernels: (set) => {
        const object = this.#written?.get(set);
        return object !== undefined && object.kind !== 'chain' && object.elements === undefined;
      },
      onLost: (heard) => {
        if (heard) lose();
        else this.#isWhole().then((whole) => whole || lose(), this.#onRejected);
      },
    });
  }

  /** One transaction, or none where nothing differs. One that is rejected has changed nothing. */
  async write(wanted: Table): Promise<void> {
    const changes = ++this.#changes;
    this.#writing++;
    try {
      await this.#bring(wanted);
    } finally {
      this.#writing--;
    }
    // What somebody took out meanwhile may be of what was just written.
    if (changes === this.#changes) this.#written = wanted;
  }

  async #bring(wanted: Table): Promise<void> {
    const script = await this.#script(wanted);
    if (script !== '') {
      // Until it is known to be there.
      this.#written = undefined;
      try {
        await nft(stamped(this.#name, script));
      } catch (error) {
        this.#onRejected(error);
        await nft(stamped(this.#name, replacement(this.#name, wanted)));
      }
    }
  }

  close(): void {
    this.#watch?.close();
  }

  async #script(wanted: Table): Promise<string> {
    if (this.#written !== undefined) return difference(this.#name, this.#written, wanted);
    const there = await this.#find();
    return there === undefined ? replacement(this.#name, wanted) : takeover(this.#name, there.inventory, wanted);
  }

  /** Whether chains, their rules, sets and their elements are as many as were written. */
  async #isWhole(): Promise<boolean> {
    let [written, changes, found] = [this.#written, this.#changes, await this.#find({ elements: true })];
    // Seen while it was being written, it says nothing: what was missing may be of another part than what was written.
    while (this.#writing > 0 || changes !== this.#changes) {
      await delay(LOOK_AGAIN, undefined, { ref: false });
      [written, changes, found] = [this.#written, this.#changes, await this.#find({ elements: true })];
    }
    // The last write failed, and whoever wanted it tries again.
    if (written === undefined) return true;
    return [...written].every(([name, object]) => {
      const size = object.kind === 'chain' ? object.rules.length : object.elements?.size;
      return (
        found?.inventory.get(name) === object.kind && (size === undefined || (found.sizes.get(name) ?? 0) === size)
      );
    });
  }

  /** Undefined where there is no such table. */
  async #find({ elements } = { elements: false }): Promise<Found | undefined> {
    const terse = elements ? [] : ['-t'];
    const { stdout, exitCode } = await run('nft', ['-j', ...terse, 'list', 'table', 'inet', this.#name], {
      allow: [1],
    });
    if (exitCode !== 0) return undefined;
    const inventory = new Map<string, 'chain' | 'set' | 'map'>();
    const sizes = new Map<string, number>();
    const { nftables } = JSON.parse(stdout) as { nftables: Record<string, Listed | undefined>[] };
    for (const entry of nftables) {
      const chain = entry['rule']?.chain;
      if (chain !== undefined) sizes.set(chain, (sizes.get(chain) ?? 0) + 1);
      for (const kind of ['chain', 'set', 'map'] as const) {
        const { name, elem } = entry[kind] ?? {};
        if (name === undefined) continue;
        inventory.set(name, kind);
        if (elem !== undefined) sizes.set(name, elem.length);
      }
    }
    return { inventory, sizes };
  }
}

/** Idempotent. */
export async function removeTable(name: string): Promise<void> {
  await nft(`table inet ${name} {}\ndelete table inet ${name}\n`);
}
