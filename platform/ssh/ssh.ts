/**
 * The ssh proxy's contract: a shell, a command or a connection in an instance of an app, for whoever may change the app.
 *
 * It speaks SSH 2 with the stock `cf ssh`, `ssh`, `sftp` and `scp`. The user's name is `cf:<process guid>/<instance index>`; the password
 * is a one-time code of UAA (`cf ssh-code`), which is used up by the attempt, whatever comes of it. Who may come in is the cloud
 * controller's to say (`SshAccess`): a space developer, where ssh is allowed for space and app; each attempt is an audit event. When that is
 * no longer so, the connection ends with all that runs on it.
 *
 *   exec, shell   a process in the app's container, by the Kubernetes API's exec: with the app's variables and limits, as its user,
 *                 with a terminal where the client asks for one. It is killed when the client goes.
 *   subsystem sftp  files of the container, by a shell in it (`sftp/sftp.ts`).
 *   direct-tcpip  `-L`: a connection made from inside the container, so that it reaches what the app reaches and nothing else.
 *   all others    refused: agents, X11, remote forwarding, other users' names, public keys, other subsystems.
 *
 * Guessing: an address that fails five times waits five seconds, and twice as long with each failure more; a connection has three
 * attempts and thirty seconds. Connections and the channels of each are bounded. The host key is the Secret `ssh-host-key` of
 * the system namespace, made at first use: it is the same for as long as the instance lives, backups and restores included.
 */
import type { Client } from '#cluster/client/client.ts';
import type { Identity } from '../uaa/uaa.ts';

/** Where somebody is let in. */
export interface SshTarget {
  pod: { name: string; namespace: string };
  container: string;
  /** What runs a command there: a droplet's launcher sets what its buildpacks want; an image has its own shell at most. */
  launcher: boolean;
  /** Guid, for the log. */
  app: string;
  /** Aborted when they may no longer be there; the reason says why. */
  revoked: AbortSignal;
}

/** Rejects with `SshRefusal` where they may not; tells the audit log either way. `gone`: the client went, nobody needs to know any more. */
export type SshAccess = (
  identity: Identity,
  request: { process: string; index: number },
  gone: AbortSignal,
) => Promise<SshTarget>;

export class SshRefusal extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SshRefusal';
  }
}

export interface SshProxyOptions {
  client: Client;
  /** Who was given this code; it is used up. */
  redeem: (code: string) => Promise<Identity | undefined>;
  access: SshAccess;
  hostKey: HostKey;
  host?: string;
  /** 0 picks a free one. */
  port: number;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface HostKey {
  /** In OpenSSH's own form. */
  privateKey: string;
  /** SHA-256, base64 without padding: the longest form that cf compares with. */
  fingerprint: string;
}

export interface SshProxy {
  readonly port: number;
  /** Ends every session. */
  close(): Promise<void>;
}
