/**
 * The content store's contract: blobs by digest and small metadata, shared by images, build and registry on one node.
 *
 * Layout under `<data>/engine/content` (all on one file system):
 *   blobs/<algorithm>/<hex>      a blob, mode 0444, complete and verified: its presence is the acknowledgement
 *   uploads/<id>                 bytes of an upload that is under way; survives a crash, collected when a day old
 *   uploads/private-<id>         the same of a download; removed at open
 *   layers/<hex of the diff id>/ an unpacked layer (`fs/`), present only when whole: unpacked aside, synced, renamed
 *   names/                       which reference means which manifest (one small file for each name, replaced by rename)
 *
 * Promises: a write is durable (data and directory synced) before it is acknowledged; a blob never changes; two
 * writers of one blob meet without harm; a reader holds an open file, so collection cannot pull it away.
 */
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';

export interface BlobInfo {
  digest: string;
  sizeBytes: number;
}

export interface CollectOptions {
  /** Of blobs and layers; default 1 h. */
  graceMilliseconds?: number;
  /** Of manifests in the registry that have no tag; default one week. */
  untaggedGraceMilliseconds?: number;
  pinned?: Iterable<string>;
}

export interface ContentStore {
  readonly directory: string;
  /** Absolute path of a blob that is here; undefined where it is not. */
  path(digest: string): string | undefined;
  stat(digest: string): Promise<BlobInfo | undefined>;
  /** The range is inclusive, as in HTTP. `not-found` where the blob is not here. */
  read(digest: string, range?: { start: number; end?: number }): Promise<Readable>;
  /** Small blobs only (manifests, configs): at most 4 MiB. */
  readAll(digest: string): Promise<Buffer>;
  /** Verifies while it writes; `invalid` on another digest or size, and then nothing is left. Idempotent. */
  write(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    expected: { digest?: string; sizeBytes?: number },
  ): Promise<BlobInfo>;
  remove(digest: string): Promise<void>;
  /**
   * Starts the blob's grace period anew, at once; false where it is not here. Whoever tells a client that a blob need
   * not be sent, or is about to name content that refers to it, calls this first, so that a collection cannot take it
   * between the two.
   */
  touch(digest: string): boolean;
  blobs(): AsyncIterable<BlobInfo>;

  /** Uploads that can be resumed: by a client, also after a restart; or, `private`, only by this process. */
  startUpload(owner?: 'private' | 'client'): Promise<string>;
  /** Appends at `offset`, which must be the current size (`conflict` otherwise). Returns the new size. */
  appendUpload(id: string, offset: number, source: AsyncIterable<Uint8Array>): Promise<number>;
  uploadSize(id: string): Promise<number | undefined>;
  /**
   * To read what an upload has while more comes. The open file outlives `finishUpload`; undefined where the upload has
   * ended already. The caller closes it.
   */
  openUpload(id: string): Promise<FileHandle | undefined>;
  /** Verifies and makes it a blob. */
  finishUpload(id: string, digest: string): Promise<BlobInfo>;
  cancelUpload(id: string): Promise<void>;

  /**
   * Names: `setName('repository', 'tag', digest)`; the registry's repositories and the engine's references live here.
   * What a scope means is written in `scopes.ts`; all but `:links/…` keep what they name from collection.
   */
  setName(scope: string, name: string, digest: string | undefined): Promise<void>;
  getName(scope: string, name: string): string | undefined;
  names(scope: string): { name: string; digest: string }[];
  scopes(): string[];

  /**
   * Mark and sweep: removes blobs and unpacked layers that no name and no `pinned` digest reaches through manifests,
   * and that are older than the grace period, so that a push under way never loses what it just sent. Before that, the
   * registry's manifests that no tag, image or pin reaches are forgotten (`retention.ts`), and stale uploads removed.
   */
  collect(options?: CollectOptions): Promise<{ blobs: number; bytes: number }>;
}
