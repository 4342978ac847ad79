/** What users may say with `-c`, and its JSON schema for the catalogue. */
import { BrokerError } from '../postgres.ts';
import type { PostgresDatabase } from '../resource.ts';
import { asFields } from './read.ts';

export interface Settings {
  tls?: 'required' | 'optional';
  everyHours?: number;
  keep?: number;
}

export interface Wanted extends Settings {
  /** A backup is to be taken now. */
  backup?: true;
  /** Id of the backup that is to be restored, or `latest`. */
  restore?: string;
}

const MOST_HOURS = 24 * 31;
const MOST_BACKUPS = 100;

export const DEFAULT_BACKUPS = { everyHours: 24, keep: 7 };

const SETTINGS = {
  tls: { type: 'string', enum: ['required', 'optional'], description: 'Whether connections without TLS are taken' },
  backup_every_hours: {
    type: 'integer',
    minimum: 0,
    maximum: MOST_HOURS,
    description: 'Hours between backups that nobody asks for; 0: none',
  },
  backups_kept: { type: 'integer', minimum: 1, maximum: MOST_BACKUPS, description: 'The newest, of all' },
} as const;

const schema = (properties: Record<string, object>) => ({
  parameters: {
    $schema: 'http://json-schema.org/draft-04/schema#',
    type: 'object',
    additionalProperties: false,
    properties,
  },
});

export const SCHEMAS = {
  service_instance: {
    create: schema(SETTINGS),
    update: schema({
      ...SETTINGS,
      backup: { type: 'boolean', enum: [true], description: 'Take a backup now' },
      restore: { type: 'string', description: 'Id of a backup, or `latest`: the database becomes what it was then' },
    }),
  },
  service_binding: { create: schema({}) },
};

export function readSettings(value: unknown): Settings {
  const fields = asFields(value, 'parameters');
  refuseOthers(fields, Object.keys(SETTINGS));
  return settingsOf(fields);
}

export function readWanted(value: unknown): Wanted {
  const fields = asFields(value, 'parameters');
  refuseOthers(fields, [...Object.keys(SETTINGS), 'backup', 'restore']);
  const { backup, restore } = fields;
  if (backup !== undefined && backup !== true) throw new BrokerError(400, 'backup must be true');
  if (restore !== undefined && (typeof restore !== 'string' || restore === ''))
    throw new BrokerError(400, 'restore must be the id of a backup, or latest');
  if (backup !== undefined && restore !== undefined)
    throw new BrokerError(400, 'backup and restore are two operations: ask for one after the other');
  return {
    ...settingsOf(fields),
    ...(backup === true ? { backup } : {}),
    ...(typeof restore === 'string' ? { restore } : {}),
  };
}

export function refuseOthers(fields: object, known: readonly string[]): void {
  const others = Object.keys(fields).filter((name) => !known.includes(name));
  if (others.length === 0) return;
  const names = others.map((name) => JSON.stringify(name.slice(0, 40))).join(', ');
  throw new BrokerError(400, `Unknown parameter ${names}; known are: ${known.join(', ') || 'none'}`);
}

function settingsOf(fields: Record<string, unknown>): Settings {
  const { tls } = fields;
  if (tls !== undefined && tls !== 'required' && tls !== 'optional')
    throw new BrokerError(400, 'tls must be required or optional');
  const everyHours = whole(fields, 'backup_every_hours', [0, MOST_HOURS]);
  const keep = whole(fields, 'backups_kept', [1, MOST_BACKUPS]);
  return {
    ...(tls === undefined ? {} : { tls }),
    ...(everyHours === undefined ? {} : { everyHours }),
    ...(keep === undefined ? {} : { keep }),
  };
}

function whole(fields: Record<string, unknown>, name: string, [least, most]: [number, number]): number | undefined {
  const value = fields[name];
  if (value === undefined) return undefined;
  if (!Number.isInteger(value) || Number(value) < least || Number(value) > most)
    throw new BrokerError(400, `${name} must be a whole number from ${least} to ${most}`);
  return Number(value);
}

/** What `cf service NAME --params` shows: the settings, and what is known of the database. */
export function shownParameters({ spec, status }: PostgresDatabase): Record<string, unknown> {
  return {
    tls: spec.tls,
    backup_every_hours: spec.backups.everyHours,
    backups_kept: spec.backups.keep,
    state: status?.state ?? 'starting',
    server: status?.server ?? null,
    disk: status?.disk ? { size_mb: status.disk.sizeMb, free_mb: status.disk.freeMb } : null,
    backups: (status?.backups ?? []).map(({ id, takenAt, sizeBytes, scheduled }) => ({
      id,
      taken_at: takenAt,
      size_bytes: sizeBytes,
      scheduled,
    })),
  };
}
