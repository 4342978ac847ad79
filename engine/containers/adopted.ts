/**
 * Running containers that an earlier engine started. Their monitors are no children of ours: nobody tells when one is killed, and then
 * nobody would write down how its container ends. So each is looked for, now and then.
 */
import { pidOf } from './conmon.ts';
import { containerPaths, type Layout } from './layout.ts';
import { isMonitor } from './monitors.ts';

const PERIOD = 2000;

interface Adoptable {
  readonly record: { readonly id: string; readonly state: string };
  /** Where this engine has started it since. */
  readonly monitor?: unknown;
}

export class AdoptedContainers<Entry extends Adoptable> {
  readonly #onUnwatched: (entry: Entry) => void;
  readonly #entries = new Set<Entry>();
  #timer: NodeJS.Timeout | undefined;

  /** @param onUnwatched  called once for one that runs without its monitor */
  constructor(onUnwatched: (entry: Entry) => void) {
    this.#onUnwatched = onUnwatched;
  }

  follow(layout: Layout, entries: Iterable<Entry>): void {
    for (const entry of entries) if (isStill(entry)) this.#entries.add(entry);
    this.#arm(layout);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#entries.clear();
  }

  #arm(layout: Layout): void {
    if (this.#entries.size === 0) return;
    this.#timer = setTimeout(() => void this.#look(layout).finally(() => this.#arm(layout)), PERIOD);
    this.#timer.unref();
  }

  async #look(layout: Layout): Promise<void> {
    for (const entry of this.#entries) {
      const { id } = entry.record;
      if (isStill(entry) && (await isMonitor(await pidOf(containerPaths(layout, id).conmonPid), id))) continue;
      if (this.#entries.delete(entry) && isStill(entry)) this.#onUnwatched(entry);
    }
  }
}

function isStill({ record, monitor }: Adoptable): boolean {
  return record.state === 'running' && monitor === undefined;
}
