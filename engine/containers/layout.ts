/** Where everything of the container half lies. Nothing else joins these paths. */
import { join } from 'node:path';
import type { EngineOptions } from '../options.ts';

export interface Layout {
  /** `<data>/engine`, survives a reboot. Root's alone. */
  data: string;
  /** `<run>/engine`, on tmpfs. Searchable by all: container roots, who are nobody on the host, pass through it to what is theirs. */
  run: string;
  /** Who has all of this: see `engine/lock.ts`. */
  lock: string;
  addressesFile: string;
  networks: string;
  /** What CNI plugins were asked for. */
  cni: string;
  /** Where the server for names listens. */
  namesPortFile: string;
  bootFile: string;
  containersData: string;
  containersRun: string;
  sandboxesData: string;
  /** Of those that outlive a boot. */
  sandboxRecords: string;
  sandboxesRun: string;
  disks: string;
  diskVolumesData: string;
  diskVolumesRun: string;
  exits: string;
  execs: string;
  runtimeRoot: string;
}

export function layout({ dataDirectory, runDirectory }: Pick<EngineOptions, 'dataDirectory' | 'runDirectory'>): Layout {
  const data = join(dataDirectory, 'engine');
  const run = join(runDirectory, 'engine');
  return {
    data,
    run,
    lock: join(run, 'engine.pid'),
    addressesFile: join(data, 'addresses.json'),
    networks: join(data, 'networks'),
    cni: join(data, 'cni'),
    namesPortFile: join(data, 'names-port'),
    bootFile: join(run, 'boot-id'),
    containersData: join(data, 'containers'),
    containersRun: join(run, 'containers'),
    sandboxesData: join(data, 'sandboxes'),
    sandboxRecords: join(data, 'sandbox-records'),
    sandboxesRun: join(run, 'sandboxes'),
    disks: join(data, 'disks'),
    diskVolumesData: join(data, 'disk-volumes'),
    diskVolumesRun: join(run, 'disk-volumes'),
    exits: join(run, 'exits'),
    execs: join(run, 'execs'),
    runtimeRoot: join(run, 'runtime'),
  };
}

export interface SandboxPaths {
  run: string;
  record: string;
  userNamespace: string;
  networkNamespace: string;
  ipcNamespace: string;
  hosts: string;
  resolver: string;
  hostname: string;
  shared: string;
  data: string;
}

export function sandboxPaths(root: Layout, id: string): SandboxPaths {
  const run = join(root.sandboxesRun, id);
  return {
    run,
    record: join(run, 'sandbox.json'),
    userNamespace: join(run, 'user'),
    networkNamespace: join(run, 'net'),
    ipcNamespace: join(run, 'ipc'),
    hosts: join(run, 'hosts'),
    resolver: join(run, 'resolv.conf'),
    hostname: join(run, 'hostname'),
    shared: join(run, 'shared'),
    data: join(root.sandboxesData, id),
  };
}

export interface ContainerPaths {
  data: string;
  record: string;
  upper: string;
  work: string;
  disk: string;
  log: string;
  /** Of a container that keeps no log: for who is attached. */
  memoryLog: string;
  /** conmon writes here how it ended, besides `Layout.exits`: this one survives a reboot. */
  persist: string;
  run: string;
  bundle: string;
  rootfs: string;
  lower: string;
  diskMount: string;
  mounts: string;
  /** The image alone, while volumes are filled from it. */
  seed: string;
  devices: string;
  /** The process namespace of the container that it shares processes with. */
  processes: string;
  /** The file system that its last words are in. */
  lastWords: string;
  pid: string;
  conmonPid: string;
  starting: string;
  /** How far conmon was at the last turn of the log. */
  logMark: string;
  control: string;
  runtime: string;
}

export function containerPaths(root: Layout, id: string): ContainerPaths {
  const data = join(root.containersData, id);
  const run = join(root.containersRun, id);
  return {
    data,
    record: join(data, 'container.json'),
    upper: join(data, 'upper'),
    work: join(data, 'work'),
    disk: join(data, 'disk.img'),
    log: join(data, 'log', 'container.log'),
    memoryLog: join(run, 'log', 'container.log'),
    persist: join(data, 'persist'),
    run,
    bundle: join(run, 'bundle'),
    rootfs: join(run, 'rootfs'),
    lower: join(run, 'lower'),
    diskMount: join(run, 'disk'),
    mounts: join(run, 'mounts'),
    seed: join(run, 'seed'),
    devices: join(run, 'devices'),
    processes: join(run, 'processes'),
    lastWords: join(run, 'last-words'),
    pid: join(run, 'pid'),
    conmonPid: join(run, 'conmon.pid'),
    starting: join(run, 'starting'),
    logMark: join(run, 'log-mark'),
    control: join(run, 'bundle', 'ctl'),
    runtime: join(root.runtimeRoot, id),
  };
}
