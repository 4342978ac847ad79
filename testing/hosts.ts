/**
 * Several hosts on one machine: each has network, mount, process and host name namespaces of its own, its own /run and data directory,
 * and a link to a switch that is in a namespace of its own too. This process is on that switch by one link: it is where
 * the server is. Nobody finds anybody but by the network.
 *
 * The first process of every host dies with this one, and takes with it whatever runs on that host: links, routes, rules and mounts
 * are the namespaces', loop devices free themselves. So a killed test leaves directories and empty cgroups, which the next one sweeps.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Cgroups } from '#engine/containers/cgroups.ts';
import type { EngineOptions } from '#engine/options.ts';
import { hostRoutes, overlaps } from '#lib/routes.ts';
import { run } from '#lib/run.ts';
import { removeAll } from './engine-host.ts';
import type { HostAgentOptions, HostNode } from './host-agent.fixture.ts';

const ROOT = '/var/tmp';
const PREFIX = 'sampan-hosts-';
const MOST_TRIES = 1000;
const fixture = join(import.meta.dirname, 'host-agent.fixture.ts');
/** Of the cluster that the hosts are of; inside their namespaces alone, so every test may have the same. */
export const CLUSTER = {
  clusterCidr: '10.96.0.0/16',
  serviceCidr: '10.160.0.0/16',
  ipv6: { clusterCidr: 'fd00:96::/56', serviceCidr: 'fd00:160::/112' },
  vni: 4711,
  port: 8472,
} as const;

export interface Host {
  readonly name: string;
  readonly address: string;
  /** Runs a program on the host, and gives what it wrote. */
  run(program: string, ...args: string[]): Promise<string>;
  /** Starts engine, agent and overlay in one process; resolves when the node is ready and knows its peers. */
  start(node: HostNode): Promise<void>;
  /** Ends that process as a crash would. */
  kill(): Promise<void>;
  /** The link goes down, or up again. */
  link(state: 'down' | 'up'): void;
  /** Everything on it ends at once, as without power. */
  die(): Promise<void>;
  /** Purges, and fails where anything is left. */
  purge(): Promise<void>;
}

export interface Hosts extends AsyncDisposable {
  /** Of this process, on the hosts' switch. */
  readonly address: string;
  readonly list: readonly Host[];
}

/** @param options.mtu  of the links between the hosts */
export async function openHosts(count: number, options: { mtu?: number } = {}): Promise<Hosts> {
  await sweep();
  const { mtu = 1500 } = options;
  const wire = await Namespaces.open(['--net'], 'echo ready; exec sleep infinity');
  const number = claimNumber((uplink) => {
    ip(undefined, `link add ${uplink} mtu ${mtu} type veth peer name uplink mtu ${mtu} netns ${wire.pid}`);
  });
  const uplink = uplinkOf(number);
  const name = `${PREFIX}${process.pid}-${number}`;
  const subnet = `198.${18 + (number >> 8)}.${number & 255}`;
  const directory = join(ROOT, name);
  mkdirSync(directory, { mode: 0o711 });
  ip(undefined, `address add ${subnet}.1/24 dev ${uplink}`, `link set ${uplink} up`);
  ip(wire, `link add switch mtu ${mtu} type bridge`, 'link set uplink master switch up', 'link set switch up');
  const list = await Promise.all(
    Array.from({ length: count }, (_, index) => openHost({ index, name, number, subnet, directory, wire, mtu })),
  );
  return {
    address: `${subnet}.1`,
    list,
    async [Symbol.asyncDispose]() {
      for (const host of list) await host.purge();
      ip(undefined, `link delete ${uplink}`);
      await wire.end();
      rmSync(directory, { recursive: true });
    },
  };
}

interface HostPlace {
  index: number;
  name: string;
  number: number;
  subnet: string;
  directory: string;
  wire: Namespaces;
  mtu: number;
}

async function openHost({ index, name, number, subnet, directory, wire, mtu }: HostPlace): Promise<Host> {
  const nodeName = `host-${index + 1}`;
  const address = `${subnet}.${index + 11}`;
  const home = join(directory, nodeName);
  mkdirSync(home, { mode: 0o711 });
  const namespaces = await Namespaces.open(
    ['--net', '--uts', '--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'],
    `set -e
     hostname ${nodeName}
     mount -t tmpfs -o mode=755 tmpfs /run
     mkdir /run/cgroup
     mount --rbind /sys/fs/cgroup /run/cgroup
     mount -t sysfs sysfs /sys
     mount --rbind /run/cgroup /sys/fs/cgroup
     umount --lazy /run/cgroup
     echo ready
     while :; do sleep infinity & wait; done`,
  );
  const port = `port-${index + 1}`;
  ip(wire, `link add ${port} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${namespaces.pid}`);
  ip(wire, `link set ${port} master switch up`);
  ip(namespaces, 'link set lo up', `address add ${address}/24 dev eth0`, 'link set eth0 up');
  ip(namespaces, `route add default via ${subnet}.1`);
  let before: string[] | undefined;
  const engine: HostAgentOptions['engine'] = {
    instance: instanceOf(name, nodeName),
    dataDirectory: join(home, 'data'),
    runDirectory: `/run/${name}-${nodeName}`,
    network: {
      clusterCidr: CLUSTER.clusterCidr,
      serviceCidr: CLUSTER.serviceCidr,
      overlay: { vni: CLUSTER.vni, port: CLUSTER.port, address },
    },
    idRange: { first: 65_536 * (8000 + number * 100 + index * 32), length: 65_536 * 32 },
    sandboxPool: 1,
  };
  let agent: ChildProcess | undefined;
  let started: HostAgentOptions | undefined;
  const host: Host = {
    name: nodeName,
    address,
    run: async (program, ...args) => (await run('nsenter', [...namespaces.enter, program, ...args])).stdout,
    async start(node) {
      before ??= await stateOf(namespaces);
      started = { ...node, engine, nodeName, address, directory: join(home, 'node') };
      agent = startFixture(namespaces, 'start', started);
      await said(agent, 'ready');
    },
    async kill() {
      await killed(agent);
      agent = undefined;
    },
    link: (state) => ip(wire, `link set ${port} ${state}`),
    async die() {
      await namespaces.end();
      await killed(agent);
      agent = undefined;
    },
    async purge() {
      await host.kill();
      if (!namespaces.isOver && started !== undefined) {
        const purging = startFixture(namespaces, 'purge', started);
        purging.stdout?.resume();
        const [code] = (await once(purging, 'close')) as [number | null];
        assert.equal(code, 0, `${nodeName} could not be purged`);
        assert.deepEqual(await stateOf(namespaces), before, `${nodeName}: links, routes or rules are left`);
      }
      await namespaces.end();
      await removeAll(seenFromHere(engine, subnet));
      rmSync(home, { recursive: true, force: true });
    },
  };
  return host;
}

/** Links, routes and rules of a host. */
async function stateOf(namespaces: Namespaces): Promise<string[]> {
  const script =
    'ip -o link | sed "s/^[0-9]*: //"; ip route; ip -6 route show proto static; ip neighbour show nud permanent; nft list ruleset';
  const { stdout } = await run('nsenter', [...namespaces.enter, 'sh', '-c', script]);
  return stdout.split('\n').filter((line) => !/^eth0@|^lo:/.test(line));
}

/** What was not in its namespaces: cgroups, loop devices, files. The ranges are other hosts' here, so none of them is named. */
function seenFromHere(engine: HostAgentOptions['engine'], subnet: string): EngineOptions {
  const range = `${subnet}.0/24`;
  return { ...engine, network: { podCidr: range, clusterCidr: range, serviceCidr: range } };
}

function startFixture(namespaces: Namespaces, mode: 'start' | 'purge', options: HostAgentOptions): ChildProcess {
  const node = [process.execPath, '--experimental-ffi', '--disable-warning=ExperimentalWarning', fixture];
  const args = [...namespaces.enter, 'setpriv', '--pdeathsig', 'KILL', ...node, mode, JSON.stringify(options)];
  return spawn('setpriv', ['--pdeathsig', 'KILL', 'nsenter', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Resolves when the line was written; rejects where the process ends before. */
async function said(child: ChildProcess, word: string): Promise<void> {
  assert.ok(child.stdout);
  for await (const line of createInterface({ input: child.stdout })) if (line === word) return;
  throw new Error(`the process ended before it said ${word}`);
}

/** The program itself: `nsenter` then reaps it, which nobody would do soon whom it is left to. */
async function killed(entered: ChildProcess | undefined): Promise<void> {
  if (entered === undefined || isOver(entered)) return;
  const ended = once(entered, 'exit');
  const program = onlyChildOf(entered.pid ?? 0);
  if (program !== undefined) process.kill(program, 'SIGKILL');
  await ended;
}

function isOver({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Namespaces with a first process, which dies with this one. */
class Namespaces {
  readonly #child: ChildProcess;
  /** Of the first process, seen from here. */
  readonly pid: number;
  readonly enter: readonly string[];

  private constructor(child: ChildProcess, kinds: readonly string[]) {
    this.#child = child;
    const own = child.pid ?? 0;
    this.pid = (kinds.includes('--fork') ? onlyChildOf(own) : undefined) ?? own;
    const entered = kinds.filter((kind) => ['--net', '--uts', '--mount', '--pid'].includes(kind));
    this.enter = ['--target', String(this.pid), ...entered, '--'];
  }

  /** @param script  of sh, that says `ready` and does not end */
  static async open(kinds: readonly string[], script: string): Promise<Namespaces> {
    const args = ['--pdeathsig', 'KILL', 'unshare', ...kinds, 'sh', '-c', script];
    const child = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let complaints = '';
    child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
    await said(child, 'ready').catch((cause: unknown) => {
      throw new Error(`no namespaces: ${complaints}`, { cause });
    });
    return new Namespaces(child, kinds);
  }

  get isOver(): boolean {
    return isOver(this.#child);
  }

  async end(): Promise<void> {
    if (this.isOver) return;
    const closed = once(this.#child, 'exit');
    process.kill(this.pid, 'SIGKILL');
    await closed;
  }
}

function onlyChildOf(pid: number): number | undefined {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()) || undefined;
}

function ip(namespaces: Namespaces | undefined, ...commands: string[]): void {
  const enter = namespaces === undefined ? [] : ['nsenter', '--target', String(namespaces.pid), '--net', '--'];
  const [program = 'ip', ...args] = [...enter, 'ip', '-batch', '-'];
  execFileSync(program, args, { input: `${commands.join('\n')}\n`, stdio: ['pipe', 'ignore', 'inherit'] });
}

/** Of a range in 198.18.0.0/15 (RFC 2544) that nobody here routes. A link of its name is the claim: the kernel makes it once. */
function claimNumber(addLink: (uplink: string) => void): number {
  for (let tries = 0; ; tries += 1) {
    const number = randomInt(512);
    const range = `198.${18 + (number >> 8)}.${number & 255}.0/24`;
    if (hostRoutes().some((route) => overlaps(route, range))) continue;
    try {
      addLink(uplinkOf(number));
      return number;
    } catch (error) {
      if (tries > MOST_TRIES || !existsSync(`/sys/class/net/${uplinkOf(number)}`)) throw error;
    }
  }
}

function uplinkOf(number: number): string {
  return `sh${number}`;
}

/** What tests left that were killed. */
async function sweep(): Promise<void> {
  for (const name of readdirSync(ROOT)) {
    const pid = name.startsWith(PREFIX) ? name.slice(PREFIX.length).split('-')[0] : undefined;
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    for (const host of readdirSync(join(ROOT, name))) await new Cgroups(instanceOf(name, host)).removeAll();
    rmSync(join(ROOT, name), { recursive: true, force: true });
  }
}

function instanceOf(name: string, host: string): string {
  return `${name.slice('sampan-'.length)}-${host.slice('host-'.length)}`;
}
