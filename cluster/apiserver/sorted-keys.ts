/** Keys in byte order, found by bisection. */
export class SortedKeys {
  private readonly keys: string[] = [];

  add(key: string): void {
    const at = this.indexOf(key);
    if (this.keys[at] !== key) this.keys.splice(at, 0, key);
  }

  remove(key: string): void {
    const at = this.indexOf(key);
    if (this.keys[at] === key) this.keys.splice(at, 1);
  }

  /** Every key from `start` on; `start` itself is left out when `exclusive`. */
  *from(start: string, exclusive = false): Generator<string> {
    let at = this.indexOf(start);
    if (exclusive && this.keys[at] === start) at++;
    for (; at < this.keys.length; at++) {
      const key = this.keys[at];
      if (key !== undefined) yield key;
    }
  }

  private indexOf(key: string): number {
    let [low, high] = [0, this.keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
