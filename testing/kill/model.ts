/** What an engine that was killed may have: for each thing the states that its acknowledged and unanswered requests allow. */

export type State = 'absent' | 'created' | 'running' | 'exited';

export interface KnownContainer {
  name: string;
  /** Ends by itself, with status 3. */
  isShort: boolean;
  autoRemove: boolean;
  /** A start was asked for and not answered: its restart policy may fulfil that at any time. */
  mayStart: boolean;
  /** What it may be in now. */
  may: Set<State>;
  /** For the report of a failure: what was asked of it, in order; a `?` where no answer came. */
  history: string[];
}

/** Names that are there (`true`), are not (`false`), or may be (undefined). */
export type Presence = Map<string, boolean | undefined>;

export class Model {
  readonly containers = new Map<string, KnownContainer>();
  readonly volumes: Presence = new Map();
  readonly images: Presence = new Map();

  /** Of an end that comes by itself the engine may have seen nothing yet, or all. */
  static settled(container: KnownContainer): Set<State> {
    const may = new Set(container.may);
    if (may.has('running') && container.isShort) may.add('exited');
    if (container.autoRemove && may.has('exited')) {
      may.delete('exited');
      may.add('absent');
    }
    return may;
  }

  /** Nothing runs after a boot, but what a restart policy started since. */
  boot(): void {
    for (const container of this.containers.values()) {
      container.history.push('boot');
      if (!container.may.has('running')) continue;
      container.may.add('exited');
      if (container.isShort || container.autoRemove) container.may.delete('running');
      else container.mayStart = true;
    }
  }

  /** Takes what was found as what is: the next round begins there. */
  observe(states: ReadonlyMap<string, State>, volumes: ReadonlySet<string>, images: ReadonlySet<string>): void {
    for (const [name, container] of this.containers) {
      const state = states.get(name);
      if (state === undefined || state === 'absent') this.containers.delete(name);
      else {
        container.may = new Set(container.mayStart && state === 'exited' ? [state, 'running'] : [state]);
        container.history.push(`found ${state}`);
      }
    }
    for (const name of this.volumes.keys()) {
      if (volumes.has(name)) this.volumes.set(name, true);
      else this.volumes.delete(name);
    }
    for (const name of this.images.keys()) {
      if (images.has(name)) this.images.set(name, true);
      else this.images.delete(name);
    }
  }
}
