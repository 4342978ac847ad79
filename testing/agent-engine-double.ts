/**
 * An engine in memory, for tests of the node agent's state machine alone: containers "run" until the test ends them.
 * What the agent does with the real engine is tested in `agent-real.test.ts`.
 */
import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import {
  type Container,
  type ContainerExit,
  type ContainerSpec,
  type Engine,
  EngineError,
  type EngineEvent,
  type ExecSession,
  type Image,
  type LogOptions,
  type LogRecord,
  type Sandbox,
  type SandboxSpec,
} from '#engine/engine.ts';

export class EngineDouble implements Engine {
  readonly sandboxMap = new Map<string, Sandbox>();
  readonly containerMap = new Map<string, Container>();
  readonly calls: string[] = [];
  readonly present = new Set<string>();
  /** Containers ignore the stop signal, and go when the grace period is over. */
  stubborn = false;
  pullError: EngineError | undefined;
  startError: EngineError | undefined;
  execCode = 0;
  readonly #listeners = new Set<(event: EngineEvent) => void>();

  readonly images: Engine['images'] = {
    pull: async (reference) => {
      this.calls.push(`pull ${reference}`);
      if (this.pullError) throw this.pullError;
      this.present.add(reference);
      return imageOf(reference);
    },
    get: (reference) => (this.present.has(reference) ? imageOf(reference) : undefined),
    list: () => [...this.present].map(imageOf),
    tag: async () => {},
    remove: async () => {},
    layerDirectories: async () => [],
  };

  /** The node agent's pods are in the network that is always there. */
  readonly networks: Engine['networks'] = {
    create: async () => await Promise.reject(new EngineError('invalid', 'the double has no networks')),
    remove: async () => {},
    list: () => [],
    get: () => undefined,
    connect: async () => await Promise.reject(new EngineError('not-found', 'the double has no networks')),
    disconnect: async () => await Promise.reject(new EngineError('not-found', 'the double has no networks')),
    setAliases: async () => await Promise.reject(new EngineError('not-found', 'the double has no networks')),
  };

  /** Directories that are not there: nobody looks into them. */
  readonly diskVolumes: Engine['diskVolumes'] = {
    mount: async ({ name, sizeBytes, kind = 'lasting' }) => {
      this.calls.push(`mount ${name} ${sizeBytes}`);
      return { name, sizeBytes, kind, mounted: true, path: `/nowhere/${name}` };
    },
    unmount: async (name) => void this.calls.push(`unmount ${name}`),
    remove: async (name) => void this.calls.push(`remove-volume ${name}`),
    list: () => [],
  };

  info(): ReturnType<Engine['info']> {
    return {
      instance: 'double',
      dataDirectory: '/nowhere',
      kernel: '6.1.0',
      cgroups: 'v2',
      runtime: { path: '/usr/bin/runc', name: 'double', version: '1' },
      conmonVersion: '1',
      cpus: 2,
      memoryBytes: 4 * 2 ** 30,
      idMapping: 'mount',
      sandboxPool: { ready: 0, target: 0 },
      bridge: { subnet: '10.86.0.0/24', gateway: '10.86.0.1' },
      allowedBinds: [],
      allowedRisks: [],
      allowedDevices: [],
    };
  }

  async createSandbox(spec: SandboxSpec): Promise<Sandbox> {
    this.calls.push(`sandbox ${spec.name.split('/')[1]}`);
    const id = randomBytes(32).toString('hex');
    const sandbox: Sandbox = {
      id,
      name: spec.name,
      hostname: spec.hostname,
      labels: spec.labels ?? {},
      ip: `10.86.0.${this.sandboxMap.size + 2}`,
      createdAt: Date.now(),
      egress: spec.egress ?? 'cluster',
      idRange: { first: 65_536, length: 65_536 },
      networkNamespacePath: '/nowhere/net',
      userNamespacePath: '/nowhere/user',
    };
    this.sandboxMap.set(id, sandbox);
    return sandbox;
  }

  async recoverSandbox(id: string): Promise<Sandbox> {
    const sandbox = this.sandboxMap.get(id);
    if (sandbox === undefined) throw new EngineError('not-found', `no sandbox ${id}`);
    return sandbox;
  }

  async writtenBytes(): Promise<number> {
    return 0;
  }

  async removeSandbox(id: string): Promise<void> {
    this.calls.push(`remove-sandbox ${this.sandboxMap.get(id)?.name.split('/')[1]}`);
    for (const container of this.containers()) if (container.sandbox === id) this.containerMap.delete(container.id);
    this.sandboxMap.delete(id);
    this.#emit({ at: Date.now(), type: 'sandbox-removed', id });
  }

  sandboxes(): Sandbox[] {
    return [...this.sandboxMap.values()];
  }

  sandbox(id: string): Sandbox | undefined {
    return this.sandboxMap.get(id);
  }

  async createContainer(spec: ContainerSpec): Promise<Container> {
    this.calls.push(`create ${spec.name}`);
    const id = randomBytes(32).toString('hex');
    const container: Container = {
      id,
      name: spec.name,
      sandbox: spec.sandbox,
      state: 'created',
      image: spec.image,
      imageId: `sha256:${'1'.repeat(64)}`,
      imageDigest: `sha256:${'2'.repeat(64)}`,
      labels: spec.labels ?? {},
      createdAt: Date.now(),
      logPath: '/nowhere/log',
      spec,
    };
    this.containerMap.set(id, container);
    return container;
  }

  async startContainer(id: string): Promise<void> {
    const container = this.#get(id);
    this.calls.push(`start ${container.name}`);
    if (this.startError) {
      this.end(container.name, { code: 128, oomKilled: false, at: Date.now(), message: this.startError.message });
      throw this.startError;
    }
    this.containerMap.set(id, { ...container, state: 'running', startedAt: Date.now(), pid: 1 });
  }

  async stopContainer(id: string, options: { graceSeconds?: number; signal?: AbortSignal } = {}): Promise<void> {
    const container = this.containerMap.get(id);
    this.calls.push(`stop ${container?.name} ${Math.ceil(options.graceSeconds ?? 10)}`);
    if (!container || container.state !== 'running') return;
    if (this.stubborn) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, (options.graceSeconds ?? 10) * 1000);
      options.signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(new Error('aborted'));
      });
      await promise;
    }
    this.end(container.name, {
      code: this.stubborn ? 137 : 143,
      signal: this.stubborn ? 9 : 15,
      oomKilled: false,
      at: Date.now(),
    });
  }

  async killContainer(): Promise<void> {}

  async removeContainer(id: string): Promise<void> {
    const container = this.containerMap.get(id);
    if (container) this.calls.push(`remove ${container.name}`);
    this.containerMap.delete(id);
  }

  async releaseMounts(id: string): Promise<void> {
    this.calls.push(`release ${this.#get(id).name}`);
  }

  async updateFiles(id: string, target: string): Promise<void> {
    this.calls.push(`updateFiles ${id} ${target}`);
  }

  containers(): Container[] {
    return [...this.containerMap.values()];
  }

  container(id: string): Container | undefined {
    return this.containerMap.get(id);
  }

  async waitContainer(): Promise<ContainerExit> {
    throw new EngineError('internal', 'not part of the double');
  }

  /** `cat` gives back what it gets; any other command ends at once with `execCode`. */
  async exec(_id: string, spec: { command: string[]; stdin?: boolean }): Promise<ExecSession> {
    this.calls.push(`exec ${spec.command.join(' ')}`);
    if (spec.command[0] === 'cat' && spec.stdin) {
      const pipe = new PassThrough();
      const { promise: exited, resolve } = Promise.withResolvers<{ code: number }>();
      pipe.once('end', () => resolve({ code: this.execCode }));
      return {
        stdin: pipe,
        stdout: pipe,
        stderr: Readable.from([]),
        resize: ({ columns, rows }) => void this.calls.push(`resize ${columns} ${rows}`),
        kill: () => pipe.destroy(),
        exited,
      };
    }
    return {
      stdout: Readable.from([]),
      stderr: Readable.from([]),
      resize: () => {},
      kill: () => {},
      exited: Promise.resolve({ code: this.execCode }),
    };
  }

  readonly lines: LogRecord[] = [];

  async *logs(id: string, options: LogOptions): AsyncIterable<LogRecord> {
    this.#get(id);
    const wanted = this.lines.filter(({ stream }) => options[stream] !== false);
    yield* options.tail === undefined ? wanted : wanted.slice(wanted.length - options.tail);
  }

  async changes(): ReturnType<Engine['changes']> {
    return [];
  }

  async writeLayer(): ReturnType<Engine['writeLayer']> {
    return undefined;
  }

  exportContainer(): ReturnType<Engine['exportContainer']> {
    throw new EngineError('internal', 'not part of the double');
  }

  async stats(): ReturnType<Engine['stats']> {
    return { at: Date.now(), cpuNanos: 0, memoryBytes: 0, pids: 1, diskBytes: 0 };
  }

  async sandboxStats(): ReturnType<Engine['sandboxStats']> {
    return { at: Date.now(), receivedBytes: 0, sentBytes: 0 };
  }

  async *events(options: { signal?: AbortSignal } = {}): AsyncIterable<EngineEvent> {
    const queue: EngineEvent[] = [];
    let wake: () => void = () => {};
    const listener = (event: EngineEvent): void => {
      queue.push(event);
      wake();
    };
    this.#listeners.add(listener);
    options.signal?.addEventListener('abort', () => wake());
    try {
      while (!options.signal?.aborted) {
        yield* queue.splice(0);
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (queue.length > 0 || options.signal?.aborted) resolve();
        });
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }

  async close(): Promise<void> {}

  async publishPorts(): Promise<never> {
    throw new EngineError('invalid', 'the double publishes no ports');
  }

  async dialSandbox(): Promise<never> {
    throw new EngineError('unavailable', 'the double has no network');
  }

  async attachInput(): Promise<never> {
    throw new EngineError('conflict', 'the double has no standard input');
  }

  async resizeContainer(): Promise<void> {
    throw new EngineError('conflict', 'the double has no terminal');
  }

  /** Ends a running container, by the engine's name for it. */
  end(name: string, exit: ContainerExit): void {
    const container = this.containers().find((one) => one.name === name);
    if (!container) throw new Error(`no container ${name}`);
    const { pid: _pid, ...rest } = container;
    this.containerMap.set(container.id, { ...rest, state: 'exited', exit });
    this.#emit({ at: exit.at, type: 'container-exited', id: container.id, sandbox: container.sandbox, exit });
  }

  #get(id: string): Container {
    const container = this.containerMap.get(id);
    if (!container) throw new EngineError('not-found', `no container ${id}`);
    return container;
  }

  #emit(event: EngineEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

function imageOf(reference: string): Image {
  return {
    id: `sha256:${'1'.repeat(64)}`,
    digest: `sha256:${'2'.repeat(64)}`,
    references: [reference],
    sizeBytes: 1,
    createdAt: 0,
    config: { architecture: 'amd64', os: 'linux', layers: [] },
  };
}
