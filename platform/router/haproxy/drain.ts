/**
 * Servers that left the routing table: they get nothing new, finish what they have, and are deleted when idle; after the
 * drain time what still runs is cut. HAProxy tells nobody when a server becomes idle, so it is asked in growing steps.
 */
import { type ServerRef, serverId } from './plan.ts';
import type { CommandSocket } from './socket.ts';

const FIRST_STEP = 20;
const LAST_STEP = 1000;

export class Drain {
  readonly #seconds: number;
  readonly #leaving = new Map<string, { ref: ServerRef; deadline: number }>();
  #timer: NodeJS.Timeout | undefined;
  #step = FIRST_STEP;
  readonly #due: () => void;

  /** `due` is called when it is time for `step`. */
  constructor(seconds: number, due: () => void) {
    this.#seconds = seconds;
    this.#due = due;
  }

  /** The servers that are leaving now; those that were and are not in the list any more are wanted again. */
  set(refs: readonly ServerRef[]): void {
    const keys = new Set(refs.map(serverId));
    for (const old of this.#leaving.keys()) if (!keys.has(old)) this.#leaving.delete(old);
    for (const ref of refs) {
      if (this.#leaving.has(serverId(ref))) continue;
      this.#leaving.set(serverId(ref), { ref, deadline: Date.now() + this.#seconds * 1000 });
      this.#step = FIRST_STEP;
    }
    this.#schedule();
  }

  /** Deletes who is idle or late, and returns them. */
  async step(socket: CommandSocket): Promise<ServerRef[]> {
    const removed: ServerRef[] = [];
    const busy = await this.#busy(socket);
    for (const { ref, deadline } of this.#leaving.values()) {
      const late = Date.now() >= deadline;
      if (busy.has(serverId(ref)) && !late) continue;
      if (late) await socket.ask(`shutdown sessions server ${serverId(ref)}`);
      await socket.ask(`set server ${serverId(ref)} state maint`);
      const answer = await socket.ask(`del server ${serverId(ref)}`);
      // Refused while a connection is being closed: the next step tries again.
      if (!/deleted|No such server/i.test(answer)) continue;
      this.#leaving.delete(serverId(ref));
      removed.push(ref);
    }
    this.#step = Math.min(LAST_STEP, this.#step * 2);
    this.#schedule();
    return removed;
  }

  async #busy(socket: CommandSocket): Promise<Set<string>> {
    const slots = new Set([...this.#leaving.values()].map(({ ref }) => ref.slot));
    const answers = await socket.run([...slots].map((slot) => ({ text: `show servers conn ${slot}` })));
    const busy = new Set<string>();
    for (const line of answers.join('\n').split('\n')) {
      // bkname/svname bkid/svid addr port - purge_delay used_cur …
      const field = line.split(' ');
      if (Number(field[6]) > 0) busy.add(field[0] ?? '');
    }
    return busy;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#leaving.size === 0 ? undefined : setTimeout(this.#due, this.#step);
    this.#timer?.unref();
  }

  get size(): number {
    return this.#leaving.size;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#leaving.clear();
  }
}
