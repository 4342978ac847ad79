/**
 * Volumes that are one pod's at a time: those whose only access mode is ReadWriteOncePod. The scheduler keeps to that too, and yet two
 * pods meet here where one was deleted by force and still ends, or where one names its node itself.
 *
 * Who has such a volume is what pods asked for since the agent started and, of pods from before, what their containers say: each has the
 * names of those that it mounts as a label. A container that ended has nothing; its pod asks again.
 */
import type { Engine } from '#engine/engine.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Container, PersistentVolume } from '../kinds/types/core.ts';
import { AgentError } from './errors.ts';
import { exclusiveVolumesLabel, podUidLabel } from './labels.ts';
import type { PreparedVolume } from './volumes.ts';

export interface ExclusiveUser {
  podUid: string;
  /** Called when the volume is worth another try. */
  retry: () => void;
}

export class ExclusiveVolumes {
  readonly #engine: Pick<Engine, 'containers'>;
  /** Uids of pods by the PersistentVolume's name. */
  readonly #holders = new Map<string, string>();
  /** Those who were refused, by the same. */
  readonly #waiting = new Map<string, Map<string, () => void>>();

  constructor(engine: Pick<Engine, 'containers'>) {
    this.#engine = engine;
  }

  /**
   * The pod has the volume from now on; idempotent.
   * @returns the volume's name where it is one of these
   * @throws AgentError FailedMount  while another pod has it
   */
  take({ metadata: { name }, spec }: Stored<PersistentVolume>, { podUid, retry }: ExclusiveUser): string | undefined {
    if (spec?.accessModes?.join() !== 'ReadWriteOncePod') return undefined;
    if ((this.#holders.get(name) ?? podUid) !== podUid || this.#isRunWithIt(name, podUid)) {
      const waiting = this.#waiting.get(name) ?? new Map<string, () => void>();
      this.#waiting.set(name, waiting.set(podUid, retry));
      throw new AgentError(
        'FailedMount',
        'volume uses the ReadWriteOncePod access mode and is already in use by another pod',
      );
    }
    this.#holders.set(name, podUid);
    return name;
  }

  /** The pod has none of them any more, and waits for none. */
  release(podUid: string): void {
    for (const waiting of this.#waiting.values()) waiting.delete(podUid);
    for (const [name, holder] of this.#holders) {
      if (holder !== podUid) continue;
      this.#holders.delete(name);
      const waiting = [...(this.#waiting.get(name)?.values() ?? [])];
      this.#waiting.delete(name);
      for (const retry of waiting) retry();
    }
  }

  /** Containers have gone whose pod nobody knew. */
  wake(): void {
    const waiting = [...this.#waiting.values()].flatMap((users) => [...users.values()]);
    this.#waiting.clear();
    for (const retry of waiting) retry();
  }

  /** By a container of another pod, whether that is in the API or not. */
  #isRunWithIt(name: string, podUid: string): boolean {
    return this.#engine
      .containers()
      .some(
        ({ state, labels }) =>
          state !== 'exited' &&
          labels[podUidLabel] !== podUid &&
          labels[exclusiveVolumesLabel]?.split(',').includes(name) === true,
      );
  }
}

/** What `exclusiveVolumesLabel` says on a container. */
export function exclusiveLabelOf(
  { volumeMounts = [], volumeDevices = [] }: Pick<Container, 'volumeMounts' | 'volumeDevices'>,
  prepared: ReadonlyMap<string, PreparedVolume>,
): Record<string, string> {
  const names = [...volumeMounts, ...volumeDevices].flatMap(({ name }) => {
    const volume = prepared.get(name);
    return volume !== undefined && 'exclusive' in volume ? (volume.exclusive ?? []) : [];
  });
  return names.length === 0 ? {} : { [exclusiveVolumesLabel]: [...new Set(names)].join(',') };
}
