/**
 * Files of an instance, for `sftp` and `scp`: the server's side of the SSH File Transfer Protocol, version 3
 * (draft-ietf-secsh-filexfer-02, as OpenSSH speaks it).
 *
 * Whatever is asked for is done by a shell in the app's container (`script.ts`), with the app's user, mounts and limits: nothing is ever looked up
 * from outside, so a link that changes under way leads to what the app itself could reach. The image must have `sh`, `stat`, `find` and `dd`, as
 * the stack and most images do. Names are bytes; here they are strings of one character for each byte (latin1).
 *
 * One request after another is read, done and answered: who sends faster than its files take, or takes answers slower than they come,
 * is waited for, and no more than a packet is held for it. What the container says is believed no further than its own files: it is
 * bounded, and one that does not answer ends the session.
 *
 * Beyond version 3: `posix-rename@openssh.com`, `hardlink@openssh.com`, `limits@openssh.com`, `expand-path@openssh.com`. Not served: appending
 * (`SSH_FXF_APPEND`), as no client of note asks for it.
 */

/** Section 7. */
export const STATUS = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  unsupported: 8,
} as const;

/** Of a request. The message is for people. */
export class SftpError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = 'SftpError';
    this.status = status;
  }
}

/** Section 5. Times are seconds since the epoch. */
export interface Attributes {
  size?: number;
  owner?: { user: number; group: number };
  /** With the bits of the file's type. */
  mode?: number;
  times?: { access: number; modification: number };
}

export interface Entry {
  name: string;
  attributes: Required<Attributes>;
}

/** OpenSSH's own, less what is around the data. */
export const MOST_DATA = 255 * 1024;
export const MOST_PACKET = 256 * 1024;
export const MOST_HANDLES = 32;
/** Directories that are read at once, and what each listing may take: some forty thousand names. */
export const MOST_LISTINGS = 4;
export const MOST_LISTING_BYTES = 4 * 1024 * 1024;
export const LONGEST_PATH = 4096;
