/**
 * Control groups of an instance: `/sampan-<instance>/<sandbox>/<container>`, made by the runtime, read and removed here.
 * Two layouts: v2 (one hierarchy), and v1 (one for each controller, perhaps with an empty v2 beside: "hybrid").
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, type Limits } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { thaw } from './freezer.ts';
import { writeLimits } from './limits.ts';

export interface CgroupStats {
  cpuNanos: number;
  memoryBytes: number;
  memoryLimitBytes?: number;
  pids: number;
}

/** v1 says "no limit" with a number near 2^63. */
const noLimit = 2 ** 60;

export class Cgroups {
  readonly version: 'v1' | 'v2';
  readonly #instance: string;
  /** Where each controller is mounted; on v2 all in one place, under ''. */
  readonly #roots: Map<string, string>;
  readonly swapAccounting: boolean;

  constructor(instance: string) {
    this.#instance = instance;
    const { version, roots } = detectCgroups();
    this.version = version;
    this.#roots = roots;
    const memory = roots.get('memory');
    this.swapAccounting =
      version === 'v2' || (memory !== undefined && existsSync(join(memory, 'memory.memsw.limit_in_bytes')));
  }

  /** The path that the runtime is told. */
  path(sandbox: string, container?: string): string {
    const parts = ['', `sampan-${this.#instance}`, sandbox];
    if (container !== undefined) parts.push(container);
    return parts.join('/');
  }

  #directories(path: string): string[] {
    return [...new Set(this.#roots.values())].map((root) => join(root, path));
  }

  /** Where one controller's files of it are. */
  directory(controller: string, path: string): string {
    const root = this.#roots.get(this.version === 'v2' ? '' : controller);
    if (root === undefined) {
      throw new EngineError(
        'unavailable',
        `this kernel has no ${controller} cgroup controller: enable it on its command line`,
      );
    }
    return join(root, path);
  }

  /** Limits on a sandbox as a whole, above those of its containers. */
  async limitSandbox(sandbox: string, limits: Limits): Promise<void> {
    const path = this.path(sandbox);
    await Promise.all(this.#directories(path).map((directory) => mkdir(directory, { recursive: true })));
    if (this.version === 'v2') await this.#enableControllers(path);
    await writeLimits(this, path, limits);
  }

  /** v2 hands controllers down one level at a time. */
  async #enableControllers(path: string): Promise<void> {
    const root = this.#roots.get('') ?? '';
    const parts = path.split('/').filter((part) => part !== '');
    for (let level = 0; level < parts.length; level += 1) {
      const directory = join(root, ...parts.slice(0, level));
      const available = (await readFile(join(directory, 'cgroup.controllers'), 'utf8')).trim().split(' ');
      const wanted = ['cpu', 'memory', 'pids', 'io', 'cpuset'].filter((name) => available.includes(name));
      await writeFile(join(directory, 'cgroup.subtree_control'), wanted.map((name) => `+${name}`).join(' '));
    }
  }

  /** Takes a process of ours out of the caller's cgroup, so that whoever stops that one does not stop this process. */
  async adoptHelper(pid: number): Promise<void> {
    const path = `/sampan-${this.#instance}/monitors`;
    // Only the hierarchies by which a service manager kills; limits of the caller's own controllers may go on.
    const roots =
      this.version === 'v2' ? [this.#roots.get('')] : [this.#roots.get('name=systemd'), this.#roots.get('unified')];
    for (const root of roots) {
      if (root === undefined) continue;
      const directory = join(root, path);
      await mkdir(directory, { recursive: true });
      try {
        await writeFile(join(directory, 'cgroup.procs'), String(pid));
      } catch (error) {
        // It ended meanwhile.
        if (!hasCode(error, 'ESRCH')) throw error;
      }
    }
  }

  /** Processes in the cgroup and below, each once. */
  async processes(path: string): Promise<number[]> {
    const controller = this.version === 'v2' ? '' : 'pids';
    const found: number[] = [];
    const visit = async (directory: string): Promise<void> => {
      found.push(...(await pidsIn(directory)));
      for (const child of await subdirectories(directory)) await visit(join(directory, child));
    };
    await visit(this.directory(controller, path));
    return found;
  }

  /** Kills everything in it; what is frozen there dies when it goes on. */
  async kill(path: string): Promise<void> {
    killAll(await this.processes(path));
    await thaw(this, path);
  }

  /** Whether the kernel has a file of a controller for containers. */
  has(controller: string, file: string): boolean {
    const root = this.#roots.get(this.version === 'v2' ? '' : controller);
    if (root === undefined) return false;
    // The root itself lacks most files: look where this instance has its own.
    const own = join(root, `sampan-${this.#instance}`);
    return existsSync(join(existsSync(own) ? own : root, file));
  }

  /** Removes it with all below, after killing what is in it. Idempotent. */
  async remove(path: string): Promise<void> {
    await Promise.all(this.#directories(path).map((directory) => this.#removeDirectory(directory, path)));
  }

  async #removeDirectory(directory: string, path: string): Promise<void> {
    // A killed process leaves its cgroup a moment after it was reaped, and v1 tells nobody when. Each hierarchy has processes of its own.
    for (let attempt = 0; ; attempt += 1) {
      for (const child of await subdirectories(directory)) await this.#removeDirectory(join(directory, child), path);
      try {
        await rmdir(directory);
        return;
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return;
        if (!hasCode(error, 'EBUSY') || attempt >= 100) throw error;
        await this.kill(path);
        killAll(await pidsIn(directory));
        await delay(Math.min(5 * (attempt + 1), 100));
      }
    }
  }

  /** The whole instance's, for purge. */
  async removeAll(): Promise<void> {
    await this.remove(`/sampan-${this.#instance}`);
  }

  /** Sandboxes that have a cgroup. */
  async sandboxes(): Promise<string[]> {
    return (await this.#below(`/sampan-${this.#instance}`)).filter((name) => name !== 'monitors');
  }

  /** Containers of the sandbox that have a cgroup. */
  async containers(sandbox: string): Promise<string[]> {
    return await this.#below(this.path(sandbox));
  }

  /** Names of the cgroups right below one, in any hierarchy. */
  async #below(path: string): Promise<string[]> {
    const names = new Set<string>();
    for (const directory of this.#directories(path))
      for (const name of await subdirectories(directory)) names.add(name);
    return [...names];
  }

  /** How many processes the kernel killed in it for lack of memory. 0 where it is gone. */
  async oomKills(path: string): Promise<number> {
    const file = this.version === 'v2' ? 'memory.events' : 'memory.oom_control';
    const text = await readFile(join(this.directory('memory', path), file), 'utf8').catch(orEmpty);
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  async stats(path: string): Promise<CgroupStats> {
    const read = async (controller: string, file: string): Promise<string> =>
      (await readFile(join(this.directory(controller, path), file), 'utf8')).trim();
    const field = (text: string, name: string): number =>
      Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
    const v2 = this.version === 'v2';
    const [cpu, usage, limit, memory, pids] = await Promise.all([
      v2 ? read('cpu', 'cpu.stat') : read('cpuacct', 'cpuacct.usage'),
      read('memory', v2 ? 'memory.current' : 'memory.usage_in_bytes'),
      read('memory', v2 ? 'memory.max' : 'memory.limit_in_bytes'),
      read('memory', 'memory.stat'),
      read('pids', 'pids.current'),
    ]);
    const inactive = field(memory, v2 ? 'inactive_file' : 'total_inactive_file');
    const limitBytes = limit === 'max' ? noLimit : Number(limit);
    return {
      cpuNanos: v2 ? field(cpu, 'usage_usec') * 1000 : Number(cpu),
      memoryBytes: Math.max(0, Number(usage) - inactive),
      ...(limitBytes < noLimit ? { memoryLimitBytes: limitBytes } : {}),
      pids: Number(pids),
    };
  }
}

/** Processes of other namespaces are 0 there: they are not ours to see. */
async function pidsIn(directory: string): Promise<number[]> {
  const text = await readFile(join(directory, 'cgroup.procs'), 'utf8').catch(orEmpty);
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
}

function killAll(pids: number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error;
    }
  }
}

function orEmpty(error: unknown): string {
  if (hasCode(error, 'ENOENT', 'ENODEV')) return '';
  throw error;
}

async function subdirectories(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** From mountinfo, never from assumption: which layout, and where each controller is. */
export function detectCgroups(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): {
  version: 'v1' | 'v2';
  roots: Map<string, string>;
} {
  const roots = new Map<string, string>();
  let unified: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const target = left.split(' ')[4];
    const [type, , superOptions = ''] = right.split(' ');
    if (target === undefined) continue;
    if (type === 'cgroup2') unified ??= target;
    if (type !== 'cgroup') continue;
    for (const option of superOptions.split(',')) {
      const isController =
        /^(cpu|cpuacct|cpuset|memory|devices|freezer|blkio|pids|hugetlb|net_cls|net_prio|perf_event|rdma|misc|name=.+)$/;
      if (isController.test(option) && !roots.has(option)) roots.set(option, target);
    }
  }
  if (roots.has('memory') || roots.has('pids')) {
    if (unified !== undefined) roots.set('unified', unified);
    return { version: 'v1', roots };
  }
  if (unified === undefined) {
    throw new EngineError('unavailable', 'no cgroup hierarchy is mounted: mount cgroup2 at /sys/fs/cgroup');
  }
  return { version: 'v2', roots: new Map([['', unified]]) };
}
