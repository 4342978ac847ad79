/** Starts the node agent: see `agent.ts`. */
import { mkdir, statfs } from 'node:fs/promises';
import type { Engine } from '#engine/engine.ts';
import { createInformer } from '../client/informer.ts';
import { sharedInformer } from '../client/shared-informer.ts';
import { pods, services as serviceResource } from '../kinds/resources.ts';
import type { Agent, AgentOptions } from './agent.ts';
import type { NodeContext } from './context.ts';
import { startEndpoint } from './endpoint.ts';
import { messageOf } from './errors.ts';
import { openCsiVolumes } from './csi/volumes.ts';
import { createEventRecorder } from './events.ts';
import { Eviction } from './eviction.ts';
import { type NodeCapacity, roomOf } from './node-settings.ts';
import { podUidLabel } from './labels.ts';
import { LogCounts } from './log-collector.ts';
import { Measures } from './measure.ts';
import { NodeVolumes } from './node-volumes.ts';
import { PodWorkers } from './pods.ts';
import { Registration } from './registration.ts';
import { type NodePolicy, strictPolicy } from './security.ts';
import { StaticPods } from './static-pods.ts';

/** Resolves when the endpoint listens; pods are taken up as soon as the API answers (`ready`). */
export async function startAgent(options: AgentOptions & { policy?: NodePolicy }): Promise<Agent> {
  const { client, engine, nodeName, address, dataDirectory, log } = options;
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
  const settings = {
    ...options.settings,
    ...(options.eviction?.thresholds && { thresholds: options.eviction.thresholds }),
  };
  const room = roomOf(await capacityOf(engine, dataDirectory), settings);
  const recorder = createEventRecorder(client, nodeName, log);
  const onError = (error: unknown): void =>
    log('warn', 'the watch on services broke off; it is tried again', { error: messageOf(error) });
  const services = sharedInformer(client, serviceResource, {}, onError);
  const volumes = new NodeVolumes({ nodeName, client, engine, recorder, dataDirectory, log });
  const csi = await openCsiVolumes({
    nodeName,
    dataDirectory,
    client,
    watches: volumes.watches,
    recorder,
    isHere: (uid) => engine.sandboxes().some(({ labels }) => labels[podUidLabel] === uid),
    log,
  });
  const context: NodeContext = {
    nodeName,
    hostIps: [address, ...(options.address6 === undefined ? [] : [options.address6])],
    engine,
    client,
    recorder,
    policy: options.policy ?? strictPolicy,
    volumes,
    csi,
    ...(options.renewTokensAfter !== undefined && { renewTokensAfter: options.renewTokensAfter }),
    dataDirectory,
    room,
    pressures: () => eviction.conditions,
    placed: (uid) => workers.placed(uid),
    ...(options.names && { names: options.names }),
    ...(options.admit && { admit: options.admit }),
    log,
    logCounts: new LogCounts(),
    services,
  };
  const informer = createInformer(client, pods, {
    fieldSelector: `spec.nodeName=${nodeName}`,
    onError: (error) => log('warn', 'the watch on pods broke off; it is tried again', { error: messageOf(error) }),
  });
  const workers = new PodWorkers(context, informer);
  const measures = new Measures(context, workers);
  const endpoint = await startEndpoint({ context, workers, port: options.port, tls: options.tls });
  const registration = new Registration({
    client,
    facts: {
      nodeName,
      addresses: context.hostIps,
      port: endpoint.port,
      info: engine.info(),
      room,
      settings,
      images: () => engine.images.list(),
      pressures: () => eviction.conditions,
    },
    leaseInterval: options.leaseInterval ?? 10_000,
    log,
  });
  const eviction = new Eviction({ ...options.eviction, context, workers, onChange: () => registration.changed() });
  const statics =
    options.staticPods === undefined
      ? undefined
      : new StaticPods({ directory: options.staticPods, nodeName, log, onChange: (all) => workers.setStatic(all) });
  // Before the API answers: what keeps it may be among them.
  await statics?.start();
  const ready = Promise.all([registration.start(), workers.start()]).then(() => {
    volumes.start();
    eviction.start();
    csi.start(new Set(workers.all().map(({ uid }) => uid)));
  });
  // Who does not wait for `ready` must not die of a close before it.
  ready.catch(() => undefined);
  return {
    port: endpoint.port,
    ready,
    measure: () => measures.read(),
    async close() {
      statics?.close();
      await eviction.close();
      await Promise.all([registration.close(), workers.close(), endpoint.close(), volumes.close(), csi.close()]);
      informer.close();
      services.close();
      await recorder.close();
    },
  };
}

async function capacityOf(engine: Engine, directory: string): Promise<NodeCapacity> {
  const { cpus, memoryBytes } = engine.info();
  const { blocks, bsize } = await statfs(directory);
  return { milliCpus: cpus * 1000, memoryBytes, diskBytes: blocks * bsize };
}
