/**
 * What an informer has, in the order of a text of each object. It is put in order once and kept so by the informer's events: of ten
 * thousand objects one changes, and all are listed.
 */
import type { ClientObject, Informer } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';

export class Ordered<T extends ClientObject> {
  readonly #informer: Pick<Informer<T>, 'list' | 'onChange'>;
  readonly #keyOf: (object: Stored<T>) => string;
  /** Ends listening; nobody asks any more. */
  readonly close: () => void;
  /** Undefined until somebody asks, and after an event that does not fit what is here. */
  #objects: Stored<T>[] | undefined;

  /** Comes before every listener that asks it: they are told in the order in which they came. No two objects have one text. */
  constructor(informer: Pick<Informer<T>, 'list' | 'onChange'>, keyOf: (object: Stored<T>) => string) {
    this.#informer = informer;
    this.#keyOf = keyOf;
    this.close = informer.onChange((now, old) => this.#change(now, old));
  }

  /** The caller's own array. */
  all(): Stored<T>[] {
    this.#objects ??= this.#inOrder();
    return this.#objects.slice();
  }

  #inOrder(): Stored<T>[] {
    return this.#informer
      .list()
      .map((object) => ({ object, key: this.#keyOf(object) }))
      .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
      .map(({ object }) => object);
  }

  #change(now: Stored<T> | undefined, old: Stored<T> | undefined): void {
    const objects = this.#objects;
    if (objects === undefined) return;
    if (old !== undefined) {
      const at = this.#placeOf(this.#keyOf(old));
      if (objects[at]?.metadata.uid !== old.metadata.uid) {
        this.#objects = undefined;
        return;
      }
      if (now !== undefined && this.#keyOf(now) === this.#keyOf(old)) {
        objects[at] = now;
        return;
      }
      objects.splice(at, 1);
    }
    if (now !== undefined) objects.splice(this.#placeOf(this.#keyOf(now)), 0, now);
  }

  /** Of the first whose key is not below this one. */
  #placeOf(key: string): number {
    const objects = this.#objects ?? [];
    let low = 0;
    let high = objects.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const object = objects[middle];
      if (object !== undefined && this.#keyOf(object) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
