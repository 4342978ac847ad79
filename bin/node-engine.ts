import { join } from 'node:path';
import { startDockerApi } from '#engine/docker-api/server.ts';
import type { TcpDoor } from '#engine/docker-api/tcp-door.ts';
import { type OpenedEngine, openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import type { NodeImages } from '#engine/images/open.ts';
import { startRegistry } from '#engine/registry/server.ts';
import { dockerClients, readCa, readPair } from './certificates.ts';
import { engineOptions, registryHost } from './engine-options.ts';
import type { Instance } from './instance.ts';
import { registryRights } from './registry-rights.ts';
import { version } from './version.ts';

export interface NodeEngine {
  engine: OpenedEngine;
  socketPath: string;
  /** Of the Docker API's TCP door, where one was asked for. */
  tcpPort?: number;
  /** Ends the doors, then the engine; containers go on. */
  close(): Promise<void>;
}

/** The engine plank of an instance with its two doors, the registry and the Docker API: in the agent, or by itself. */
export async function startNodeEngine(
  instance: Instance,
  options: Pick<
    EngineOptions,
    'allowedBinds' | 'allowedDevices' | 'allowedRisks' | 'diskWatermarks' | 'log' | 'mirrors' | 'runtime'
  > & {
    /** By host, besides the own. */
    registries?: EngineOptions['registries'];
    /** A build that takes longer is stopped. Default two hours. */
    buildTimeoutMilliseconds?: number;
    onError: (what: string, error: unknown) => void;
    /** The Docker API over TCP too, with the instance's certificates. */
    tcp?: { host: string; port: number };
  },
): Promise<NodeEngine> {
  const { onError, tcp, registries, buildTimeoutMilliseconds, ...own } = options;
  const base = engineOptions(instance);
  const engine = await openEngine({ ...base, ...own, registries: { ...registries, ...base.registries } });
  const authorize = registryRights(instance);
  engine.images.serveLocally(registryHost(instance), authorize);
  const pair = readPair(instance, 'registry');
  const socketPath = join(instance.runDirectory, 'docker.sock');
  const [registry, docker] = await Promise.all([
    startRegistry({
      content: engine.content,
      cache: engine.images.cache,
      listen: { host: '0.0.0.0', port: instance.ports.registry },
      tls: { cert: pair.certificate, key: pair.key },
      authorize,
      onError: (error) => onError('a registry request failed', error),
    }),
    startDockerApi({
      engine,
      socketPath,
      version,
      ...(buildTimeoutMilliseconds === undefined ? {} : { buildTimeoutMilliseconds }),
      onError: (error) => onError('a Docker API request failed', error),
      ...(tcp === undefined ? {} : { tcp: tcpDoor(instance, tcp) }),
    }),
  ]);
  const collector = collectEvery(engine.images, onError, own.log);
  return {
    engine,
    socketPath,
    ...(docker.port === undefined ? {} : { tcpPort: docker.port }),
    async close() {
      clearInterval(collector);
      await Promise.all([registry.close(), docker.close()]);
      await engine.close();
    },
  };
}

function tcpDoor(instance: Instance, address: { host: string; port: number }): TcpDoor {
  const { certificate, key } = readPair(instance, 'docker');
  return { ...address, ca: readCa(instance), certificate, key, organization: dockerClients };
}

/** Content that nothing names any more goes, an hour after it was last wanted. */
function collectEvery(
  images: NodeImages,
  onError: (what: string, error: unknown) => void,
  log: EngineOptions['log'],
): NodeJS.Timeout {
  const collect = (): void =>
    void images.collect().then(
      ({ blobs, bytes }) => blobs > 0 && log?.('info', 'collected unused content', { blobs, bytes }),
      (error: unknown) => onError('unused content could not be collected', error),
    );
  return setInterval(collect, 3_600_000).unref();
}
