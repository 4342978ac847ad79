/** Opens the engine of one instance: images, network, sandboxes and containers, each taking over what an earlier engine left. */
import { availableParallelism, release as kernelRelease, totalmem } from 'node:os';
import { hostServers } from '#lib/dns/resolv-conf.ts';
import { findProgram } from '#lib/find-program.ts';
import { run } from '#lib/run.ts';
import { Cgroups } from './containers/cgroups.ts';
import { Containers } from './containers/containers.ts';
import { LocalDiskVolumes } from './containers/disk-volumes.ts';
import { Disks } from './containers/disks.ts';
import { LocalEngine } from './containers/engine.ts';
import { EventHub } from './containers/events.ts';
import { layout as layoutOf } from './containers/layout.ts';
import { purge, removeRunDirectory, stopGracefully, takeDown } from './containers/purge.ts';
import { prepareDirectories, recoverContainers } from './containers/recovery.ts';
import { Sandboxes } from './containers/sandboxes.ts';
import { BRIDGE, attachmentsOf } from './containers/attachments.ts';
import { type Engine, EngineError, type EngineInfo } from './engine.ts';
import { type NodeImages, openImages } from './images/open.ts';
import type { ContentStore } from './images/store.ts';
import { Watermarks } from './images/watermarks.ts';
import { lockEngine } from './lock.ts';
import { NameServer } from './network/dns/server.ts';
import { gatewayOf, parseCidr } from './network/addresses.ts';
import { openCni } from './network/cni/network.ts';
import type { Ipv6Ranges } from './network/network.ts';
import { Network } from './network/open.ts';
import { defaultNetworkPool, localPool } from './network/subnets.ts';
import { UserNetworks } from './network/user-networks.ts';
import type { Neighbours } from './neighbours.ts';
import type { EngineOptions } from './options.ts';
import type { Overlay } from './overlay.ts';
import type { ContainerVerbs } from './verbs.ts';

/** The engine with what its neighbours in one process share. */
export interface OpenedEngine extends Engine, ContainerVerbs, Overlay, Neighbours {
  readonly images: NodeImages;
  readonly content: ContentStore;
  stopAll: LocalEngine['stopAll'];
}

const instanceName = /^[a-z0-9][a-z0-9-]{0,31}$/;

/**
 * One engine at a time for each run directory (`conflict` otherwise). Needs root, and node with `--experimental-ffi`.
 * Resolves when everything that runs is adopted; the sandbox pool fills afterwards.
 */
export async function openEngine(options: EngineOptions): Promise<OpenedEngine> {
  if (!instanceName.test(options.instance)) {
    throw new EngineError(
      'invalid',
      `instance: "${options.instance}" is not a name of at most 32 lowercase letters, digits and dashes`,
    );
  }
  if (process.getuid?.() !== 0)
    throw new EngineError('unavailable', 'the engine needs root: run it as root or with sudo');
  const log = options.log ?? logToStandardError;
  const layout = layoutOf(options);
  const runtime = requireProgram(options.runtime ?? 'runc');
  const conmon = requireProgram('conmon');
  const network = new Network({ instance: options.instance, ...options.network, log });
  const cgroups = new Cgroups(options.instance);
  const release = await lockEngine(options);
  let names: NameServer | undefined;
  try {
    await prepareDirectories(layout, options.instance);
    const { podCidr, clusterCidr, serviceCidr, networkPool = defaultNetworkPool, ipv6 } = options.network;
    const userNetworks = new UserNetworks({
      directory: layout.networks,
      instance: options.instance,
      pool: networkPool,
      ipv6Pool: localPool(options.instance),
      taken: [podCidr, clusterCidr, serviceCidr, ...(ipv6 === undefined ? [] : [ipv6.clusterCidr, ipv6.serviceCidr])],
      kernel: network,
    });
    network.know(userNetworks.list());
    const events = new EventHub();
    let containers: Containers | undefined;
    const cni = await openCni(options, layout.cni, log);
    const [images, { isRunc, ...versions }, sandboxes] = await Promise.all([
      openImages({
        dataDirectory: options.dataDirectory,
        log,
        ...(options.registries === undefined ? {} : { registries: options.registries }),
        ...(options.mirrors === undefined ? {} : { mirrors: options.mirrors }),
        inUse: () => containers?.list().map(({ imageDigest }) => imageDigest) ?? [],
        onEvent: (event) => events.emit(event),
      }),
      readVersions(runtime, conmon),
      Sandboxes.open({
        layout,
        network,
        networks: userNetworks,
        cni,
        cgroups,
        podCidr,
        ...(network.ipv6 === undefined ? {} : { podCidr6: network.ipv6.podCidr }),
        idRange: options.idRange,
        poolTarget: options.sandboxPool ?? 4,
        log,
        risks: options,
      }),
    ]);
    const chosen = { path: runtime, isRunc };
    network.ensureBridge();
    const found = sandboxes;
    names = await NameServer.open({
      address: network.resolver,
      portFile: layout.namesPortFile,
      source: {
        sandboxes: () =>
          found.list().flatMap((sandbox) => {
            const attachments = attachmentsOf(sandbox).filter((one) => one.network !== BRIDGE);
            const servers = sandbox.dns?.servers ?? [];
            return attachments.length === 0 ? [] : [{ sandbox: sandbox.id, attachments, servers }];
          }),
        network: (id) => userNetworks.get(id),
        isRunning: (sandbox) => containers?.isRunningIn(sandbox) === true,
      },
      hostServers,
      log,
    });
    network.setResolverPort(names.port);
    await network.ensure();
    sandboxes.reconcile();
    network.watch();
    const records = await recoverContainers(layout, cgroups, (id) => sandboxes.has(id));
    const disks = new Disks(layout.disks);
    containers = new Containers({
      layout,
      cgroups,
      disks,
      images,
      sandboxes,
      runtime: chosen,
      conmon,
      log,
      risks: options,
      emit: (event) => events.emit(event),
    });
    await containers.adopt(records);
    sandboxes.fillPool();
    const own = containers;
    const watermarks = new Watermarks({
      ...options.diskWatermarks,
      images,
      inUse: () => own.list().map(({ imageDigest }) => imageDigest),
      log,
    });
    void wakeByEvents(watermarks, events);
    return new LocalEngine({
      watermarks,
      diskVolumes: await LocalDiskVolumes.open({
        layout,
        disks,
        isUsed: (path) =>
          own
            .list()
            .some(({ state, spec }) => state !== 'exited' && spec.devices?.some((one) => one.hostPath === path)),
      }),
      images,
      network,
      userNetworks,
      names,
      cgroups,
      sandboxes,
      containers,
      events,
      layout,
      runtime: chosen,
      info: {
        instance: options.instance,
        dataDirectory: options.dataDirectory,
        kernel: kernelRelease(),
        cgroups: cgroups.version,
        ...versions,
        cpus: availableParallelism(),
        memoryBytes: totalmem(),
        idMapping: 'mount',
        bridge: { subnet: podCidr, gateway: network.resolver, ...bridgeIpv6(network.ipv6) },
        allowedBinds: options.allowedBinds ?? [],
        allowedRisks: options.allowedRisks ?? [],
        allowedDevices: options.allowedDevices ?? [],
      },
      release,
    });
  } catch (error) {
    await names?.close();
    network.close();
    release();
    throw error;
  }
}

/**
 * Stops every container of the instance by its stop signal, then takes down sandboxes, mounts, links and rules. Images and the records
 * of containers stay. `conflict` while an engine is open. Idempotent.
 */
export async function stopContainers(options: EngineOptions, stop: { graceSeconds?: number } = {}): Promise<void> {
  const release = await lockEngine(options);
  try {
    await stopGracefully(options, stop.graceSeconds ?? 10);
    await takeDown(options, options.log ?? logToStandardError);
  } finally {
    release();
  }
}

/** Removes everything of the instance from this machine. `conflict` while an engine is open. Idempotent. */
export async function purgeEngine(options: EngineOptions): Promise<void> {
  const release = await lockEngine(options);
  try {
    await purge(options, options.log ?? logToStandardError);
  } finally {
    release();
  }
  await removeRunDirectory(options);
}

function bridgeIpv6(ranges: Ipv6Ranges | undefined): Pick<EngineInfo['bridge'], 'ipv6'> {
  if (ranges === undefined) return {};
  return { ipv6: { subnet: ranges.podCidr, gateway: gatewayOf(parseCidr(ranges.podCidr)) } };
}

async function readVersions(
  runtime: string,
  monitor: string,
): Promise<{ runtime: EngineInfo['runtime']; isRunc: boolean; conmonVersion: string }> {
  const [first, conmon] = await Promise.all([
    run(runtime, ['--version']).catch((cause: unknown) => {
      throw new EngineError('unavailable', `runtime: ${runtime} is no OCI runtime: it does not tell its version`, {
        cause,
      });
    }),
    run(monitor, ['--version']),
  ]);
  return {
    runtime: {
      path: runtime,
      name: runtime.split('/').at(-1) ?? runtime,
      version: /version (\S+)/.exec(first.stdout)?.[1] ?? 'unknown',
    },
    isRunc: first.stdout.startsWith('runc '),
    conmonVersion: /version (\S+)/.exec(conmon.stdout)?.[1] ?? 'unknown',
  };
}

/** Ends when the hub is closed. */
async function wakeByEvents(watermarks: Watermarks, events: EventHub): Promise<void> {
  watermarks.wake();
  for await (const _event of events.subscribe()) watermarks.wake();
}

/** An absolute path: conmon and the runtime do not look programs up as a shell does. */
function requireProgram(name: string): string {
  const path = findProgram(name);
  if (path !== undefined) return path;
  throw new EngineError(
    'unavailable',
    `"${name}" is not on the PATH: install it (Debian: apt-get install runc conmon)`,
  );
}

function logToStandardError(level: string, message: string, fields: Record<string, unknown> = {}): void {
  process.stderr.write(
    `${JSON.stringify({ time: new Date().toISOString(), level, component: 'engine', message, ...fields })}\n`,
  );
}
