/**
 * The engine's contract: what a container wrote. Of one that runs it is what is there at the moment that each file is read; the
 * vocabulary, the errors and the promises are those of `engine.ts`.
 */
export interface WrittenFiles {
  /** What its writable layer changed against its image, sorted by path. Running or not. */
  changes(id: string): Promise<FileChange[]>;
  /**
   * Writes the writable layer to the content store, once and streaming, as an OCI layer: whiteouts, the image's own ids, hard links,
   * extended attributes, holes; the same files make the same bytes. Undefined where nothing was changed.
   * `invalid` where a file has a name that layers reserve (`.wh.…`).
   */
  writeLayer(id: string, options?: { signal?: AbortSignal }): Promise<WrittenLayer | undefined>;
  /** The whole root file system, without what is mounted in it, as a tar archive. */
  exportContainer(id: string, options?: { signal?: AbortSignal }): AsyncIterable<Uint8Array>;
}

export interface FileChange {
  /** Absolute. */
  path: string;
  /** A directory is `modified` too where something in it was changed. */
  kind: 'modified' | 'added' | 'deleted';
}

/** A layer in the content store, stored as it is: its digest is its diff id as well. */
export interface WrittenLayer {
  digest: string;
  sizeBytes: number;
}
