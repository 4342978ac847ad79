/** What is made when it is first asked for, once for all who ask: a module and what it serves, for instance. */

/** Who asks while it is made waits for the same; a failure is theirs alone, and whoever asks next tries again. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    if (made === undefined) {
      made = make();
      made.catch(() => {
        made = undefined;
      });
    }
    return made;
  };
}
