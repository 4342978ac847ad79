/** Reads what kubectl reads: which server, and who we are there. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { HttpsTransportOptions } from './https.ts';

interface Named<T> {
  name: string;
  value: T;
}

export interface KubeconfigTarget {
  transport: HttpsTransportOptions;
  /** Of the context; `default` when it names none. */
  namespace: string;
}

export class KubeconfigError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KubeconfigError';
  }
}

type Fields = Record<string, unknown>;

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function text(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function named(config: Fields, list: string, item: string): Named<Fields>[] {
  const entries = config[list];
  if (!Array.isArray(entries)) return [];
  return entries.map((entry) => {
    const fields = asFields(entry);
    return { name: text(fields, 'name') ?? '', value: asFields(fields[item]) };
  });
}

/**
 * @param path     the file
 * @param context  default: the file's `current-context`
 * @throws KubeconfigError
 */
export async function readKubeconfig(path: string, context?: string): Promise<KubeconfigTarget> {
  const fail = (message: string, cause?: unknown): never => {
    throw new KubeconfigError(`kubeconfig ${path}: ${message}`, cause === undefined ? undefined : { cause });
  };
  const { parse } = await import('yaml');
  let config: Fields = {};
  try {
    config = asFields(parse(await readFile(path, 'utf8')));
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error), error);
  }
  const pick = (list: string, item: string, name: string | undefined): Fields => {
    const found = named(config, list, item).find((entry) => entry.name === name);
    return found?.value ?? fail(`no ${item} ${JSON.stringify(name ?? '')} in ${list}`);
  };
  const chosen = pick('contexts', 'context', context ?? text(config, 'current-context'));
  const cluster = pick('clusters', 'cluster', text(chosen, 'cluster'));
  const user = text(chosen, 'user') === undefined ? {} : pick('users', 'user', text(chosen, 'user'));

  if (cluster['insecure-skip-tls-verify'] === true) {
    fail('insecure-skip-tls-verify is not supported: give the cluster a certificate-authority');
  }
  for (const unsupported of ['exec', 'auth-provider', 'username']) {
    if (user[unsupported] !== undefined)
      fail(`the user's ${unsupported} is not supported: use a certificate or a token`);
  }
  /** PEM from `<name>-data` (base64) or from the file that `<name>` names, relative to the kubeconfig. */
  const pem = async (fields: Fields, name: string): Promise<string | undefined> => {
    const data = text(fields, `${name}-data`);
    if (data !== undefined) return Buffer.from(data, 'base64').toString();
    const file = text(fields, name);
    if (file === undefined) return undefined;
    return readFile(resolve(dirname(path), file), 'utf8').catch((error: unknown) =>
      fail(`${name}: ${String(error)}`, error),
    );
  };
  const url = text(cluster, 'server') ?? fail('the cluster has no server');
  const ca = await pem(cluster, 'certificate-authority');
  const certificate = await pem(user, 'client-certificate');
  const key = await pem(user, 'client-key');
  if ((certificate === undefined) !== (key === undefined)) {
    fail('client-certificate and client-key belong together: one of them is missing');
  }
  const tokenFile = text(user, 'tokenFile');
  // A token file is read for every request: whoever wrote it renews it.
  const token =
    tokenFile === undefined
      ? text(user, 'token')
      : async () => (await readFile(resolve(dirname(path), tokenFile), 'utf8')).trim();
  const serverName = text(cluster, 'tls-server-name');
  return {
    transport: {
      url,
      ...(ca !== undefined && { ca }),
      ...(certificate !== undefined && key !== undefined && { certificate, key }),
      ...(token !== undefined && { token }),
      ...(serverName !== undefined && { serverName }),
    },
    namespace: text(chosen, 'namespace') ?? 'default',
  };
}
