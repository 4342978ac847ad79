/**
 * Where an instance keeps the cluster's state: SQLite in its data directory, or etcd. Chosen by the first `up`, kept in `instance.json`, and
 * changed by `sampan store move` only; where and how etcd is reached may change with any `up`.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { HostError } from '../host-error.ts';

export interface StoreFlags {
  store?: string;
  etcdEndpoints?: string;
  etcdPrefix?: string;
  etcdCa?: string;
  etcdCert?: string;
  etcdKey?: string;
}

export interface EtcdSettings {
  endpoints: string[];
  /** The instance's part of etcd. */
  prefix: string;
  /** Below the prefix there is room for two stores: while one is copied into, the other is whole. */
  half: 'a' | 'b';
  /** The instance's id. */
  owner: string;
  /** Absolute paths, PEM. */
  ca?: string;
  cert?: string;
  key?: string;
}

export const DRIVERS = ['sqlite', 'etcd'] as const;
export type Driver = (typeof DRIVERS)[number];

/** What there is already; `store` is undefined for SQLite. */
export interface KnownStore {
  dataDirectory: string;
  store?: EtcdSettings | undefined;
}

/** An instance: its id tells it from others that were given the same prefix. */
export interface StoreOwner {
  name: string;
  id: string;
}

export const sqlitePath = (dataDirectory: string): string => join(dataDirectory, 'cluster', 'store.db');

const variables: Record<keyof StoreFlags, string> = {
  store: 'SAMPAN_STORE',
  etcdEndpoints: 'SAMPAN_ETCD_ENDPOINTS',
  etcdPrefix: 'SAMPAN_ETCD_PREFIX',
  etcdCa: 'SAMPAN_ETCD_CA',
  etcdCert: 'SAMPAN_ETCD_CERT',
  etcdKey: 'SAMPAN_ETCD_KEY',
};

/** Flags, then variables. */
export function storeFlags(flags: StoreFlags): StoreFlags {
  const found: StoreFlags = {};
  for (const [flag, variable] of Object.entries(variables) as [keyof StoreFlags, string][]) {
    const value = flags[flag] ?? process.env[variable];
    if (value !== undefined && value !== '') found[flag] = value;
  }
  return found;
}

/** Undefined for SQLite. @throws HostError `invalid-flag`, `conflict` */
export function chooseStore(
  flags: StoreFlags,
  known: KnownStore | undefined,
  owner: StoreOwner,
): EtcdSettings | undefined {
  const given = storeFlags(flags);
  const driver = given.store === undefined ? undefined : parseDriver(given.store);
  const current =
    known && (known.store !== undefined || existsSync(sqlitePath(known.dataDirectory)) ? driverOf(known) : undefined);
  if (current !== undefined && driver !== undefined && driver !== current)
    throw new HostError(
      'conflict',
      `The instance keeps its state in ${current}, not in ${driver} (--store).`,
      `Move it with \`sampan down\` and \`sampan store move --to ${driver}\`.`,
    );
  if ((current ?? driver ?? 'sqlite') === 'etcd') return etcdSettings(given, known?.store, owner);
  const lone = Object.keys(given).find((flag) => flag.startsWith('etcd'));
  if (lone !== undefined)
    throw new HostError(
      'invalid-flag',
      `--etcd-${lone.slice(4).toLowerCase()} is of no use: the state is kept in sqlite.`,
      current === undefined ? 'Give --store etcd too.' : 'Move it with `sampan store move --to etcd`.',
    );
  return undefined;
}

export function parseDriver(text: string): Driver {
  const driver = DRIVERS.find((one) => one === text);
  if (driver !== undefined) return driver;
  throw new HostError(
    'invalid-flag',
    `Cannot use ${JSON.stringify(text)} as a store.`,
    `Give ${DRIVERS.join(' or ')}.`,
  );
}

export function driverOf({ store }: Pick<KnownStore, 'store'>): Driver {
  return store === undefined ? 'sqlite' : 'etcd';
}

/** @param known  what is not given stays as it was */
export function etcdSettings(
  flags: StoreFlags,
  known: EtcdSettings | undefined,
  { name, id }: StoreOwner,
): EtcdSettings {
  const prefix = flags.etcdPrefix === undefined ? (known?.prefix ?? `/sampan/${name}`) : parsePrefix(flags.etcdPrefix);
  if (known !== undefined && prefix !== known.prefix)
    throw new HostError(
      'conflict',
      `The instance keeps its state below ${known.prefix} in etcd, not below ${prefix} (--etcd-prefix).`,
      `Leave --etcd-prefix out.`,
    );
  const endpoints = flags.etcdEndpoints === undefined ? known?.endpoints : parseEndpoints(flags.etcdEndpoints);
  if (endpoints === undefined)
    throw new HostError(
      'invalid-flag',
      'There is no etcd to keep the state in: --etcd-endpoints is missing.',
      'Give --etcd-endpoints https://10.0.0.1:2379,https://10.0.0.2:2379 and, for its certificates, --etcd-ca, --etcd-cert, --etcd-key.',
    );
  const [ca, cert, key] = [
    file('--etcd-ca', flags.etcdCa) ?? known?.ca,
    file('--etcd-cert', flags.etcdCert) ?? known?.cert,
    file('--etcd-key', flags.etcdKey) ?? known?.key,
  ];
  if ((cert === undefined) !== (key === undefined))
    throw new HostError(
      'invalid-flag',
      `${cert === undefined ? '--etcd-key' : '--etcd-cert'} is of no use alone.`,
      'Give both --etcd-cert and --etcd-key.',
    );
  return {
    endpoints,
    prefix,
    half: known?.half ?? 'a',
    owner: id,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  };
}

export function otherHalf(half: EtcdSettings['half']): EtcdSettings['half'] {
  return half === 'a' ? 'b' : 'a';
}

function parseEndpoints(text: string): string[] {
  return text.split(',').map((one) => {
    const url = URL.parse(one.trim());
    const plain = url?.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
    if (url !== null && (url.protocol === 'https:' || plain) && url.pathname === '/') return url.origin;
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(one)} in --etcd-endpoints: it is no https://HOST:PORT.`,
      'Give all members, as https://10.0.0.1:2379,https://10.0.0.2:2379; http is for an etcd on the loopback only.',
    );
  });
}

function parsePrefix(text: string): string {
  if (/^(\/[A-Za-z0-9._-]+)+$/.test(text)) return text;
  throw new HostError(
    'invalid-flag',
    `Cannot use ${JSON.stringify(text)} as --etcd-prefix.`,
    'Give names of letters, digits, ".", "_" and "-", each after a slash, as /sampan/staging.',
  );
}

function file(flag: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  if (existsSync(path)) return resolve(path);
  throw new HostError(
    'invalid-flag',
    `Cannot use ${JSON.stringify(path)} as ${flag}: there is no such file.`,
    'Give a PEM file.',
  );
}
