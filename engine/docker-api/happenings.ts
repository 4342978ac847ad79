/** What happened, in Docker's words: the last thousand, and what comes. */
import { EventEmitter } from 'node:events';
import type { Container, EngineEvent } from '../engine.ts';
import { containerName } from './container-view.ts';
import { visibleLabels } from './settings.ts';

export interface Happening {
  Type: 'container' | 'image' | 'volume' | 'network';
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: 'local';
  time: number;
  timeNano: number;
  /** As clients of old versions read it. */
  status?: string;
  id?: string;
  from?: string;
}

export const KEPT_HAPPENINGS = 1000;

const ACTIONS: Partial<Record<EngineEvent['type'], [Happening['Type'], string]>> = {
  'container-created': ['container', 'create'],
  'container-started': ['container', 'start'],
  'container-exited': ['container', 'die'],
  'container-oom': ['container', 'oom'],
  'container-paused': ['container', 'pause'],
  'container-unpaused': ['container', 'unpause'],
  'container-removed': ['container', 'destroy'],
  'image-pulled': ['image', 'pull'],
  'image-tagged': ['image', 'tag'],
  'image-removed': ['image', 'untag'],
};

export class Happenings {
  readonly #kept: Happening[] = [];
  readonly #emitter = new EventEmitter().setMaxListeners(0);
  /** Of containers that may be gone when their end is told. */
  readonly #attributes = new Map<string, Record<string, string>>();

  tell(event: EngineEvent, container: Container | undefined): void {
    const known = ACTIONS[event.type];
    if (known === undefined) return;
    const [type, action] = known;
    if (type === 'image') return this.add('image', action, event.id, { name: event.id }, event.at);
    if (container !== undefined) this.#attributes.set(event.id, attributesOf(container));
    const exit: Record<string, string> =
      event.type === 'container-exited' ? { exitCode: String(event.exit?.code ?? 0) } : {};
    this.add('container', action, event.id, { ...this.#attributes.get(event.id), ...exit }, event.at);
    if (event.type === 'container-removed') this.#attributes.delete(event.id);
  }

  about(container: Container, action: string, attributes: Record<string, string> = {}): void {
    this.add('container', action, container.id, { ...attributesOf(container), ...attributes });
  }

  add(type: Happening['Type'], action: string, id: string, attributes: Record<string, string>, at = Date.now()): void {
    const happening: Happening = {
      ...(type === 'volume' || type === 'network' ? {} : { status: action, id }),
      ...(attributes['image'] === undefined ? {} : { from: attributes['image'] }),
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: 'local',
      time: Math.floor(at / 1000),
      timeNano: at * 1_000_000,
    };
    this.#kept.push(happening);
    if (this.#kept.length > KEPT_HAPPENINGS) this.#kept.shift();
    this.#emitter.emit('happening', happening);
  }

  /** From `since` on, in milliseconds; none where it is undefined. */
  past(since: number | undefined): Happening[] {
    return since === undefined ? [] : this.#kept.filter(({ timeNano }) => timeNano >= since * 1_000_000);
  }

  /** @returns what ends it */
  listen(listener: (happening: Happening) => void): () => void {
    this.#emitter.on('happening', listener);
    return () => this.#emitter.off('happening', listener);
  }
}

function attributesOf(container: Container): Record<string, string> {
  return { ...visibleLabels(container), image: container.image, name: containerName(container) };
}
