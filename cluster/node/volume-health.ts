/** Volumes of a pod whose CSI driver says what is wrong with them: it is asked as often as a kubelet asks, and events of the pod say it. */
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import { type NodeContext, recordPodEvent } from './context.ts';
import { messageOf } from './errors.ts';
import type { PreparedVolume } from './volumes.ts';

const ASK_AFTER = 60_000;

export interface VolumeHealthOptions {
  context: NodeContext;
  /** The newest that is known. */
  pod: () => Stored<Pod>;
  prepared: () => ReadonlyMap<string, PreparedVolume>;
}

export class VolumeHealth {
  readonly #options: VolumeHealthOptions;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: VolumeHealthOptions) {
    this.#options = options;
  }

  /** As long as some volume has a driver. Idempotent. */
  watch(): void {
    if (this.#closed || this.#timer !== undefined || this.#ofDrivers().length === 0) return;
    this.#timer = setTimeout(() => void this.#ask(), this.#options.context.renewTokensAfter ?? ASK_AFTER);
    this.#timer.unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #ofDrivers(): { name: string; path: string }[] {
    return [...this.#options.prepared()].flatMap(([name, volume]) =>
      'measured' in volume && volume.measured === 'by-driver' ? { name, path: volume.path } : [],
    );
  }

  async #ask(): Promise<void> {
    const { context, pod } = this.#options;
    for (const { name, path } of this.#ofDrivers()) {
      try {
        const problem = await context.csi?.problem(path);
        if (problem === undefined || this.#closed) continue;
        const message = `Volume ${name}: ${problem}`;
        recordPodEvent(context, pod(), undefined, { type: 'Warning', reason: 'VolumeConditionAbnormal', message });
      } catch (error) {
        if (!this.#closed) context.log('warn', 'a volume was not looked at', { volume: name, error: messageOf(error) });
      }
    }
    this.#timer = undefined;
    this.watch();
  }
}
