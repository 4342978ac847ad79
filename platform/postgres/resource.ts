/** The custom resource of a service instance, and the names that are made of what platforms call their instances and bindings. */
import { createHash } from 'node:crypto';
import type { TypedResource } from '#cluster/kinds/kind.ts';
import type { ObjectMeta } from '#cluster/kinds/types/meta.ts';
import type { Backup } from './postgres.ts';

export type OperationKind = 'create' | 'update' | 'backup' | 'restore';

export interface PostgresDatabase {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: {
    /** What the platform calls it. */
    instance: string;
    plan: string;
    /** Digest of the request that made it: the same request again is no conflict. */
    request: string;
    /** The Cloud Foundry space that it is in, where it is in one. */
    space?: string;
    /** What people call it. */
    displayName?: string;
    tls: 'required' | 'optional';
    /** Hours between backups that nobody asks for (0: none), and how many are kept of all. */
    backups: { everyHours: number; keep: number };
    /** Which image it is to have: `maintenance_info.version` of the catalogue. */
    version: string;
    operation: { id: string; kind: OperationKind; since: string; backup?: string };
  };
  status?: {
    /** Of `spec.operation` when their ids are the same. */
    operation?: { id: string; state: 'in progress' | 'succeeded' | 'failed'; description: string };
    version?: string;
    image?: string;
    /** What it had before the upgrade that is under way; it goes back to that where the upgrade fails. */
    previous?: { version: string; image: string } | null;
    state?: 'starting' | 'ready' | 'full';
    /** PostgreSQL's own. */
    server?: string;
    disk?: { sizeMb: number; freeMb: number };
    backups?: Backup[];
  };
}

export const postgresDatabases: TypedResource<PostgresDatabase> = {
  group: 'platform.sampan.dev',
  version: 'v1',
  resource: 'postgresdatabases',
  kind: 'PostgresDatabase',
  namespaced: true,
};

export const labels = {
  database: 'postgres.sampan.dev/database',
  /** On the Secrets of bindings. */
  binding: 'postgres.sampan.dev/binding',
} as const;

/** On a database, until its backups are gone from the registry. */
export const FINALIZER = 'postgres.sampan.dev/backups';

function short(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 20);
}

/** Of everything that belongs to the service instance, in the namespace and in the registry. */
export function databaseName(instance: string): string {
  return `pg-${short(instance)}`;
}

/** Of a binding's Secret; its role is `b_` and the same digits. */
export function bindingName(instance: string, binding: string): string {
  return `${databaseName(instance)}-${short(binding)}`;
}

export function roleName(binding: string): string {
  return `b_${short(binding)}`;
}
