/** What is done to a server, as psql's scripts. Each may be run again, from anywhere in it. Names and verifiers are our own. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { BACKUP_ROLE, DATABASE, OWNER } from './postgres.ts';
import type { Session } from './session.ts';

/** Beside `app` while a backup is restored; and what `app` was until it is dropped. */
const RESTORING = 'app_restoring';
const REPLACED = 'app_replaced';

export interface ServerState {
  server: string;
  full: boolean;
  /** Undefined: `prepare` has not ended. */
  connections: number | undefined;
  /** Of bindings. */
  roles: string[];
}

export async function readState(session: Session): Promise<ServerState> {
  const text = await session.sql(`
    SELECT json_build_object(
      'server', current_setting('server_version'),
      'full', coalesce(current_setting('sampan.full', true), 'off') = 'on',
      'connections', (SELECT datconnlimit FROM pg_database WHERE datname = '${DATABASE}' AND datallowconn),
      'roles', (SELECT coalesce(json_agg(rolname), '[]') FROM pg_roles WHERE rolname ~ '^b_[0-9a-f]{20}$'));`);
  const { connections, server, ...state } = JSON.parse(text) as Omit<ServerState, 'connections'> & {
    connections: number | null;
  };
  // Debian says `15.14 (Debian 15.14-0+deb12u1)`.
  return { ...state, server: server.split(' ')[0] ?? server, connections: connections ?? undefined };
}

/** The roles and the database of a new server. Its users see and may end each other's sessions: to them all are theirs. The limit of connections comes last: with it, all of it was done. */
export async function prepare(session: Session, connections: number): Promise<void> {
  await session.sql(`
    SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY['${OWNER}', '${BACKUP_ROLE}']) AS name
      WHERE name NOT IN (SELECT rolname FROM pg_roles) \\gexec
    ALTER ROLE ${OWNER} LOGIN;
    ALTER ROLE ${BACKUP_ROLE} LOGIN BYPASSRLS;
    ALTER ROLE ${BACKUP_ROLE} SET lo_compat_privileges = on;
    GRANT pg_read_all_data TO ${BACKUP_ROLE};
    GRANT pg_read_all_stats, pg_signal_backend TO ${OWNER};
    SELECT 'CREATE DATABASE ${DATABASE} OWNER ${OWNER} TEMPLATE template0'
      WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '${DATABASE}') \\gexec
    REVOKE ALL ON DATABASE postgres, template1, ${DATABASE} FROM PUBLIC;
    GRANT CONNECT ON DATABASE ${DATABASE} TO ${BACKUP_ROLE};
    ALTER DATABASE ${DATABASE} ALLOW_CONNECTIONS true CONNECTION LIMIT ${connections};`);
}

export async function createBinding(session: Session, role: string, password: string): Promise<void> {
  await session.sql(
    `
    SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \\gexec
    GRANT ${OWNER} TO :"role";
    ALTER ROLE :"role" SET role = '${OWNER}';
    ALTER ROLE :"role" LOGIN PASSWORD :'verifier';`,
    { variables: { role, verifier: scramVerifier(password) } },
  );
}

/** Ends its sessions; what it owned by another way than `SET role` becomes everybody's. */
export async function dropBinding(session: Session, role: string): Promise<void> {
  const variables = { role };
  await session.sql(
    `
    ALTER ROLE :"role" NOLOGIN;
    SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = :'role';
    REASSIGN OWNED BY :"role" TO ${OWNER};
    DROP OWNED BY :"role";
    DROP ROLE :"role";`,
    { database: DATABASE, variables },
  );
}

/** What a restore that was broken off has left. True where it had come to its end already. */
export async function endRestore(session: Session): Promise<boolean> {
  const replaced = await session.sql(`SELECT count(*) FROM pg_database WHERE datname = '${REPLACED}';`);
  await session.sql(`
    DROP DATABASE IF EXISTS ${REPLACED} WITH (FORCE);
    DROP DATABASE IF EXISTS ${RESTORING} WITH (FORCE);
    ALTER DATABASE ${DATABASE} ALLOW_CONNECTIONS true;`);
  return replaced === '1';
}

export async function beginRestore(session: Session): Promise<void> {
  await session.sql(`CREATE DATABASE ${RESTORING} OWNER ${OWNER} TEMPLATE template0;`);
}

/** As the owner, who is nobody special: what a dump makes the server run has no rights that its users do not have. */
export const RESTORE = ['pg_restore', '-U', OWNER, '-d', RESTORING, '--no-owner', '--no-acl', '--exit-on-error'];

export const DUMP = ['pg_dump', '-U', BACKUP_ROLE, '-d', DATABASE, '--format=custom'];

/** The restored database takes the place of the other; sessions end, new ones find it. */
export async function swapRestored(session: Session, connections: number): Promise<void> {
  await session.sql(`
    REVOKE ALL ON DATABASE ${RESTORING} FROM PUBLIC;
    GRANT CONNECT ON DATABASE ${RESTORING} TO ${BACKUP_ROLE};
    ALTER DATABASE ${RESTORING} CONNECTION LIMIT ${connections};
    ALTER DATABASE ${DATABASE} ALLOW_CONNECTIONS false;
    SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = '${DATABASE}';
    BEGIN;
    ALTER DATABASE ${DATABASE} RENAME TO ${REPLACED};
    ALTER DATABASE ${RESTORING} RENAME TO ${DATABASE};
    COMMIT;
    DROP DATABASE ${REPLACED} WITH (FORCE);`);
}

/** RFC 5803: what the server keeps of a password, so that it never sees the password itself. */
export function scramVerifier(password: string, salt = randomBytes(16), iterations = 4096): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const stored = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64');
  const server = hmac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${server}`;
}
