/** The engine alone in the foreground: containers, images, the registry and the Docker API, without cluster and platform. */
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Risk } from '#engine/engine.ts';
import { dockerCertificates, ensureCertificates, readCa, readPair } from '../certificates.ts';
import { registryHost } from '../engine-options.ts';
import { HostError } from '../host-error.ts';
import { type Instance, type InstanceFlags, lockInstance, prepareInstance } from '../instance.ts';
import { startNodeEngine } from '../node-engine.ts';
import { requireRoot } from '../preflight.ts';
import { registryFlags } from './engine-flags.ts';
import { ensureSecrets } from '../secrets.ts';
import { isReady } from '../supervise.ts';

/** Each names a risk that whoever may use the socket may then take; see `Risk` in `engine/engine.ts`. */
export interface EngineFlags {
  /** Directories of the host that containers may mount and change. */
  allowBind?: string[];
  /** Devices of the host, or directories of them. */
  allowDevice?: string[];
  allowUnconfined?: boolean;
  allowHostNamespaces?: boolean;
  allowPrivileged?: boolean;
  /** OCI runtime: a name on the PATH or an absolute path. */
  runtime?: string;
  /** Watermarks of the disk, in percent. */
  diskHigh?: string;
  diskLow?: string;
  /** `HOST:PORT` of the Docker API over TCP, with client certificates; port 0 takes a free one. */
  tcp?: string;
  /** `[PREFIX=]HOST`: see `engine/images/pull-through.ts`. */
  mirror?: string[];
  /** A file as `docker login` writes it, for pulls without credentials of their own. */
  registryAuth?: string;
  /** A number and its unit. */
  buildTimeout?: string;
}

export async function engine(flags: InstanceFlags, options: EngineFlags): Promise<void> {
  requireRoot('The engine');
  requirePaths('--allow-bind', options.allowBind, '/srv/data');
  requirePaths('--allow-device', options.allowDevice, '/dev/fuse');
  const more = registryFlags(options);
  const tcp = options.tcp === undefined ? undefined : tcpAddress(options.tcp);
  const instance = await prepared(flags, tcp);
  const node = await startNodeEngine(instance, {
    allowedBinds: options.allowBind ?? [],
    allowedDevices: options.allowDevice ?? [],
    allowedRisks: risks(options),
    ...(tcp === undefined ? {} : { tcp }),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...more,
    diskWatermarks: {
      ...(options.diskHigh === undefined ? {} : { highPercent: Number(options.diskHigh) }),
      ...(options.diskLow === undefined ? {} : { lowPercent: Number(options.diskLow) }),
    },
    onError: (what, error) => void process.stderr.write(`engine: ${what}: ${String(error)}\n`),
  });
  process.stdout.write(
    `Engine ready. Registry: https://${registryHost(instance)}\n  export DOCKER_HOST=unix://${node.socketPath}\n`,
  );
  if (tcp !== undefined && node.tcpPort !== undefined)
    process.stdout.write(remoteText(instance, { host: tcp.host, port: node.tcpPort }));
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await node.close();
  process.exit(0);
}

function requirePaths(flag: string, paths: readonly string[] = [], example: string): void {
  for (const path of paths) {
    if (path.startsWith('/') && existsSync(path)) continue;
    throw new HostError(
      'invalid-flag',
      `Cannot use ${JSON.stringify(path)} as ${flag}: it is not an absolute path of something that is there.`,
      `Give an absolute path, for example ${flag} ${example}.`,
    );
  }
}

function risks({ allowUnconfined, allowHostNamespaces, allowPrivileged }: EngineFlags): Risk[] {
  const flags: [Risk, boolean | undefined][] = [
    ['unconfined', allowUnconfined],
    ['host-namespaces', allowHostNamespaces],
    ['privileged', allowPrivileged],
  ];
  return flags.filter(([, given]) => given === true).map(([risk]) => risk);
}

/** An IPv6 address is in brackets. */
function tcpAddress(text: string): TcpAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (host !== '' && port <= 65_535) return { host, port };
  throw new HostError(
    'invalid-flag',
    `Cannot use ${JSON.stringify(text)} as --tcp: it is not HOST:PORT.`,
    'Give an address of this machine and a port, for example --tcp 127.0.0.1:2376; port 0 takes a free one.',
  );
}

interface TcpAddress {
  host: string;
  port: number;
}

function remoteText(instance: Instance, { host, port }: TcpAddress): string {
  const name = ['0.0.0.0', '::'].includes(host) ? instance.nodeName : host.includes(':') ? `[${host}]` : host;
  const directory = clientDirectory(instance);
  return [
    `Over TCP, for whoever has the files in ${directory}, which make one root on this machine:`,
    `  export DOCKER_HOST=tcp://${name}:${port} DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=${directory}`,
    '',
  ].join('\n');
}

const clientDirectory = ({ dataDirectory }: Instance): string => join(dataDirectory, 'docker-client');

/** Under the names that docker looks for. */
function writeClientFiles(instance: Instance): void {
  const directory = clientDirectory(instance);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { certificate, key } = readPair(instance, 'docker-client');
  const files: [string, string][] = [
    ['ca.pem', readCa(instance)],
    ['key.pem', key],
    ['cert.pem', certificate],
  ];
  for (const [name, text] of files) {
    writeFileSync(join(directory, `.${name}`), text, { mode: 0o600, flush: true });
    renameSync(join(directory, `.${name}`), join(directory, name));
  }
}

async function prepared(flags: InstanceFlags, tcp: TcpAddress | undefined): Promise<Instance> {
  const release = await lockInstance(flags);
  try {
    const instance = await prepareInstance(flags);
    if (isReady(instance, 'agent')) {
      throw new HostError(
        'conflict',
        `The instance ${instance.name} is up, and its node runs the engine already.`,
        `Use its socket ${join(instance.runDirectory, 'docker.sock')}, or give another --name and --data.`,
      );
    }
    await ensureCertificates(instance, tcp === undefined ? [] : dockerCertificates(instance, tcp.host));
    if (tcp !== undefined) writeClientFiles(instance);
    ensureSecrets(instance);
    return instance;
  } finally {
    release();
  }
}
