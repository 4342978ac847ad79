/**
 * Checks what an engine keeps in its data directory, and mends what can be mended (`sampan engine fsck`).
 *
 * What is looked at
 *   blobs       each is read to its end and must have the digest that is its name
 *   names       each record must be whole, and what it names must be here, with everything that its manifest names
 *   layers      each unpacked layer must be whole, and those that images need must be there
 *   containers  each record must be whole, and its image here
 *   volumes     each record must be whole
 *
 * What `repair` does: removes damaged blobs and the names that need what is lost, so that the next pull or push brings
 * it again; unpacks missing layers anew; removes torn records (a volume's is written anew: its files are the user's);
 * and then what nothing refers to, after the usual grace. It never changes a blob, and never touches a volume's files.
 *
 * Promises
 *   - Without `repair` nothing is written but the file of progress, also while an engine runs; what comes and goes
 *     meanwhile is no problem. With `repair` no engine may run (`conflict`), and none can start until it is done.
 *   - Blobs are read by as many threads as there are processors, streamed. A check that was interrupted goes on where it
 *     was when it is called again within a day: blobs that were found good are not read again unless they changed.
 *   - Idempotent: after a repair that mended everything, a check finds nothing.
 */
import type { EngineOptions } from '../options.ts';

export type FsckKind =
  | 'blob' // its bytes do not have its digest
  | 'stray' // a file where only blobs or layers belong
  | 'name' // its record is torn, or what it names is not whole
  | 'layer' // torn, or missing where an image needs it
  | 'record'; // of a container or volume: torn, or without its image

export interface FsckProblem {
  kind: FsckKind;
  /** A digest, a path below the data directory, or scope and name. */
  what: string;
  detail: string;
  /** What was done about it. Absent where nothing was, or where nothing can be. */
  mended?: string;
}

export interface FsckReport {
  checked: { blobs: number; bytes: number; names: number; layers: number; containers: number; volumes: number };
  /** Blobs that an interrupted check had found good already. */
  resumed: number;
  problems: FsckProblem[];
  /** By `repair`: what nothing referred to. */
  collected?: { blobs: number; bytes: number };
}

export interface FsckOptions {
  engine: Pick<EngineOptions, 'instance' | 'dataDirectory' | 'runDirectory'>;
  repair?: boolean;
  onProgress?: (progress: { bytes: number; totalBytes: number }) => void;
  signal?: AbortSignal;
}

/** As fsck(8): 0 all was well, 1 everything found was mended, 4 something is left (and 8, the command's own, where the check could not be done). */
export function fsckExitStatus({ problems }: FsckReport): 0 | 1 | 4 {
  if (problems.some(({ mended }) => mended === undefined)) return 4;
  return problems.length > 0 ? 1 : 0;
}
