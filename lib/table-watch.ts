/**
 * Tells when somebody else takes anything out of an nftables table of ours: a rule, an element, a set, a chain, or the whole.
 *
 * The kernel says what was removed, and not by whom. So a transaction of ours begins and ends with a chain that is made and removed
 * in it (`stamped`): what is told between the two is ours. A transaction is told as a whole, so nobody else's comes in between.
 */
import { RuleWatch } from './rule-watch.ts';

const BEGIN = 'own-begin';
const END = 'own-end';

/** The script as a transaction of the table's owner. After it the table must be there. */
export function stamped(table: string, script: string): string {
  const stamp = (name: string): string => `add chain inet ${table} ${name}\ndelete chain inet ${table} ${name}\n`;
  return `add table inet ${table}\n${stamp(BEGIN)}${script}${stamp(END)}`;
}

const STAMP = new RegExp(`^delete chain inet (\\S+) (${BEGIN}|${END})$`);
/** Of an element, where nft does not know the set any more: it loses sight of sets of tables that were replaced since it began. */
const UNKNOWN = 'event for an unknown set';

/** What the monitor's lines, one after the other, say of a table. */
export class TableLines {
  readonly #table: string;
  readonly #isKernels: (set: string) => boolean;
  /** The table whose owner's transaction is being told; of another instance, perhaps. */
  #owned: string | undefined;

  /** @param isKernels  of a set that the kernel fills and empties itself */
  constructor(table: string, isKernels: (set: string) => boolean) {
    this.#table = table;
    this.#isKernels = isKernels;
  }

  isLoss(line: string): boolean | 'perhaps' {
    const [, stamped, stamp] = STAMP.exec(line) ?? [];
    if (stamp !== undefined) this.#owned = stamp === BEGIN ? stamped : undefined;
    // What it warns of may come before lines that it wrote earlier: its place says nothing.
    if (line.includes(UNKNOWN)) return 'perhaps';
    if (stamp !== undefined || this.#owned === this.#table) return false;
    const [verb, kind, family, name, object = ''] = line.split(' ', 5);
    const isOurs = verb === 'delete' && family === 'inet' && name === this.#table;
    return isOurs && !(kind === 'element' && this.#isKernels(object));
  }

  /** The next line does not follow the last. */
  forget(): void {
    this.#owned = undefined;
  }
}

export interface TableWatchOptions {
  isKernels: (set: string) => boolean;
  /** @param heard  false: something may be missing that nobody told of */
  onLost: (heard: boolean) => void;
}

export class TableWatch {
  readonly #watch: RuleWatch;

  constructor(table: string, { isKernels, onLost }: TableWatchOptions) {
    const lines = new TableLines(table, isKernels);
    this.#watch = new RuleWatch({
      isLoss: (line) => lines.isLoss(line),
      onLost,
      onBreak: () => lines.forget(),
    });
  }

  close(): void {
    this.#watch.close();
  }
}
