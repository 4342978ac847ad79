/**
 * The PostgreSQL service's contract: a service broker (Open Service Broker API 2.17) whose service instances are real PostgreSQL
 * databases of Debian's packages, in pods with volumes.
 *
 * It knows the Kubernetes API and the registry. What is wanted and what is there are objects of one namespace (`NAMESPACE`), which it
 * reaches as a service account with the rights of `POSTGRES_ROLE` there and no others:
 *   PostgresDatabase   a service instance: its plan, its settings, the operation that was asked for, and what came of it
 *   Secret             a binding or key: role, password, and who may connect with it; its finalizer stays until the role is dropped
 *   StatefulSet of one, Service, PersistentVolumeClaim, Secret with the certificate, NetworkPolicy: owned by their database
 * The broker writes what is wanted and answers at once; the controller brings the objects and the server to it. It is
 * level-triggered: whatever is killed in between, the next look goes on. Nothing is asked of a cluster without databases but one watch.
 *
 * In a pod:
 *   postgres    the superuser. It has no password and comes in by the pod's own socket alone, so there is none to be rotated, and none
 *               that could be taken; everything that is done to a server is done by a command in its pod.
 *   app_owner   owns the database `app` and what is in it. It has no password either: bindings act as it (`SET role`), so what one of
 *               them made belongs to all, and stays when that binding goes.
 *   app_backup  reads everything, for backups.
 *   b_…         a binding: its own password (scram-sha-256), gone with it, its sessions too.
 * Connections are TLS, with a certificate of an authority that signs for databases alone, unless the instance says `tls: optional`.
 *
 * Who may connect: the apps that are bound; with a service key the apps of its space. Everybody else is refused by a NetworkPolicy,
 * whatever they know. Databases themselves connect to nobody.
 *
 * Backups are images of one layer (a dump in PostgreSQL's custom format) in the registry, `postgres/<database>`: they outlive the
 * volume and the node, and go with the service instance. A restore fills a second database beside `app` and then takes its place: one
 * that fails changes nothing.
 *
 * An upgrade is another image for the same volume, of the same major version of PostgreSQL. One whose server does not come goes back: the
 * database has its old image and version again, with all that it held, and the operation has failed.
 *
 * A volume that is full: the server comes back by room that was set aside for that, takes no writes but those of sessions that
 * `SET transaction_read_only = off` to delete, and says `full` until there is more room (a larger plan).
 */
export const NAMESPACE = 'sampan-postgres';
/** The database of a service instance, and who owns what is in it. */
export const DATABASE = 'app';
export const OWNER = 'app_owner';
export const BACKUP_ROLE = 'app_backup';
export const PORT = 5432;

export interface Plan {
  /** Of the catalogue, for ever. */
  id: string;
  name: string;
  description: string;
  memoryMb: number;
  diskMb: number;
  /** Of all bindings together. */
  connections: number;
  cpuMillis: number;
}

/** What apps get: Cloud Foundry's usual names, some of them twice. */
export interface Credentials {
  uri: string;
  jdbcUrl: string;
  hostname: string;
  host: string;
  port: number;
  name: string;
  dbname: string;
  database: string;
  username: string;
  password: string;
  /** `verify-full` with `ca`; `prefer` where plain connections are taken too. */
  sslmode: string;
  /** PEM: who signed the server's certificate. */
  ca: string;
}

export interface Backup {
  id: string;
  takenAt: string;
  sizeBytes: number;
  digest: string;
  /** Nobody asked for it. */
  scheduled: boolean;
}

/**
 * Codes of the specification where it has one: `AsyncRequired`, `ConcurrencyError`, `RequiresApp`, `MaintenanceInfoConflict`.
 * The message says what to do, and is what `cf` shows.
 */
export class BrokerError extends Error {
  readonly status: number;
  readonly code: string | undefined;
  constructor(status: number, message: string, code?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BrokerError';
    this.status = status;
    this.code = code;
  }
}

export type Log = (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;

export interface Postgres {
  /** Where it answers on the loopback, another port at each start; and who it lets in. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  close(): Promise<void>;
}
