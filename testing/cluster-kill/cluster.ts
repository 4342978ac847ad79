/** A whole cluster through the real commands, whose processes are killed: `sampan cluster`, its keepers, and what hangs on them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import type { Transport } from '#cluster/client/transport.ts';
import { ask } from '../kill/api-client.ts';
import { busyboxLayer } from '../oci-layout.ts';
import { TestPlatform, until } from '../platform.ts';

export type Killed = 'server' | 'agent';
const roles: readonly Killed[] = ['server', 'agent'];

/** As pods name it; on the node from the beginning. */
export const image = 'docker.io/library/under-fire:latest';

export class ClusterUnderFire extends TestPlatform {
  readonly #variables: NodeJS.ProcessEnv;
  #transport: Transport | undefined;
  #client: Client | undefined;

  /** @param variables  of the environment of everything that it starts */
  constructor(name: string, variables: NodeJS.ProcessEnv = {}) {
    super(name);
    this.#variables = variables;
  }

  override get environment(): NodeJS.ProcessEnv {
    return { ...super.environment, ...this.#variables };
  }

  /** @param options.prepare  before anything is started */
  static async open(
    name: string,
    options: { variables?: NodeJS.ProcessEnv; prepare?: (cluster: ClusterUnderFire) => void } = {},
  ): Promise<ClusterUnderFire> {
    const cluster = new ClusterUnderFire(name, options.variables);
    options.prepare?.(cluster);
    try {
      await cluster.up();
      await cluster.#addImage();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** As an administrator, over the network. */
  get client(): Client {
    if (this.#client === undefined) {
      const pki = (name: string): string => readFileSync(join(this.dataDirectory, 'pki', name), 'utf8');
      this.#transport = httpsTransport({
        url: `https://127.0.0.1:${this.instance.ports.kubernetes}`,
        ca: pki('ca.crt'),
        certificate: pki('admin.crt'),
        key: pki('admin.key'),
      });
      this.#client = createClient(this.#transport);
    }
    return this.#client;
  }

  /** Starts what does not run, and takes over what does. The command that did it dies then, as everything here: keepers go on. */
  async up(): Promise<void> {
    const command = this.start('cluster');
    try {
      await until('the cluster to be ready', async () => command.output().includes('Cluster ready'), 300);
    } catch (error) {
      throw new Error(`${command.output()}\n${this.logTail()}`, { cause: error });
    } finally {
      command.kill();
    }
  }

  /** The process of a role, as its keeper wrote it down; undefined while there is none. */
  pidOf(role: Killed): number | undefined {
    return this.#pidIn(`${role}.pid`);
  }

  /** Resolves when its process is gone; at once where there is none. */
  async kill(role: Killed): Promise<void> {
    const pid = this.pidOf(role);
    if (pid === undefined) return;
    signal(pid);
    await until('it to be gone', async () => !isAlive(pid));
  }

  /** Everything that only `up` brings back, all at once. */
  async killWithKeepers(): Promise<void> {
    const all = [
      ...roles.map((role) => this.#pidIn(`${role}.keeper`)),
      ...roles.map((role) => this.pidOf(role)),
    ].filter((pid) => pid !== undefined);
    for (const pid of all) signal(pid);
    await until('they are gone', async () => all.every((pid) => !isAlive(pid)));
    await until('one is gone too that a keeper had just begun', async () => {
      const left = this.#roleProcesses();
      for (const pid of left) signal(pid);
      return left.length === 0;
    });
  }

  #roleProcesses(): number[] {
    return pids().filter((pid) => {
      const words = commandOf(pid);
      return words.includes('role') && words.includes(this.dataDirectory) && isAlive(pid);
    });
  }

  /** Each role was ready since it began. */
  async ready(which: readonly Killed[] = roles): Promise<void> {
    const isReady = (role: Killed): boolean => {
      const pid = this.#pidIn(`${role}.ready`);
      return pid !== undefined && pid === this.pidOf(role);
    };
    await until(`${which.join(' and ')} to be ready`, async () => which.every(isReady), 300).catch((error: unknown) => {
      throw new Error(this.logTail(), { cause: error });
    });
  }

  /** Monitors of containers, and first processes in them. */
  contained(): { monitors: number[]; processes: number[] } {
    const { name, runDirectory } = this.instance;
    const found: ReturnType<ClusterUnderFire['contained']> = { monitors: [], processes: [] };
    for (const pid of pids()) {
      const [program = '', ...words] = commandOf(pid);
      const groups = textOf(`/proc/${pid}/cgroup`);
      if (program.endsWith('conmon') && words.some((word) => word.startsWith(runDirectory))) found.monitors.push(pid);
      else if (groups.includes(`/sampan-${name}/`) && !groups.includes('/monitors')) found.processes.push(pid);
    }
    return found;
  }

  async close(): Promise<void> {
    this.#transport?.close();
    await this.purge();
  }

  /** Of a process of this instance that lives; numbers are given anew. */
  #pidIn(file: string): number | undefined {
    const pid = Number(textOf(join(this.instance.runDirectory, file)));
    return pid > 0 && isAlive(pid) && commandOf(pid).includes(this.dataDirectory) ? pid : undefined;
  }

  async #addImage(): Promise<void> {
    const socket = join(this.instance.runDirectory, 'docker.sock');
    const answer = await ask(
      socket,
      'POST',
      `/images/create?fromSrc=-&repo=${image.replace(/:.*/, '')}&tag=latest`,
      await busyboxLayer(),
    );
    assert.ok(answer?.status === 200 && !answer.text.includes('errorDetail'), answer?.text ?? 'no answer');
  }
}

/** Sends it where the process is still there. */
export function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX]/m.test(textOf(`/proc/${pid}/status`));
}

function commandOf(pid: number): string[] {
  return textOf(`/proc/${pid}/cmdline`).split('\0');
}

/** Empty where there is none: processes end, and those that begin remove what one before them said, at any moment. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
