/** An engine for a suite of its contract, and what its tests do with containers. */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import {
  type Container,
  type ContainerSpec,
  type Engine,
  EngineError,
  type LogOptions,
  type Sandbox,
} from '#engine/engine.ts';

export interface EngineUnderTest {
  readonly engine: Engine;
  /** An image whose layers hold a busybox, a user `app` (1000), and a group `extra` (2000) that `app` is in. */
  readonly image: string;
  reopen(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

type InSandbox = Partial<ContainerSpec> & { sandbox: string };

export interface EngineBed<Under extends EngineUnderTest = EngineUnderTest> {
  /** Not there before the first test begins. */
  readonly under: Under;
  readonly engine: Under['engine'];
  reopen(): Promise<void>;
  sandbox(spec?: { egress?: 'cluster' | 'internet'; hostname?: string }): Promise<Sandbox>;
  /** A container `main` of the image, unless the spec says otherwise. */
  create(spec: InSandbox): Promise<Container>;
  start(spec: InSandbox): Promise<Container>;
  /** Runs a script in a sandbox of its own to its end. */
  shell(
    script: string,
    spec?: Partial<ContainerSpec>,
  ): Promise<{ lines: string[]; container: Container; code: number }>;
  linesOf(id: string, options?: LogOptions): Promise<string[]>;
  /** Resolves when the container has said something. */
  firstLine(id: string): Promise<void>;
}

/** Opens before the first test of the `describe` that it is called in, and is closed after the last. */
export function engineBed<Under extends EngineUnderTest>(open: () => Promise<Under>): EngineBed<Under> {
  let under: Under;
  let count = 0;
  before(async () => {
    under = await open();
  });
  after(async () => {
    await under[Symbol.asyncDispose]();
  });
  const bed: EngineBed<Under> = {
    get under() {
      return under;
    },
    get engine() {
      return under.engine;
    },
    reopen: () => under.reopen(),
    async sandbox(spec = {}) {
      count += 1;
      return await under.engine.createSandbox({ name: `test/${count}`, hostname: 'host-a', ...spec });
    },
    create: (spec) => under.engine.createContainer({ name: 'main', image: under.image, ...spec }),
    async start(spec) {
      const container = await bed.create(spec);
      await under.engine.startContainer(container.id);
      return container;
    },
    async shell(script, spec = {}) {
      const { id } = await bed.sandbox();
      const container = await bed.start({ sandbox: id, command: ['sh', '-c', script], ...spec });
      const { code } = await under.engine.waitContainer(container.id);
      const lines = await bed.linesOf(container.id);
      const ended = under.engine.container(container.id);
      assert.ok(ended);
      await under.engine.removeSandbox(id);
      return { lines, container: ended, code };
    },
    linesOf: async (id, options = {}) =>
      (await Array.fromAsync(under.engine.logs(id, options))).map(({ line }) => line.toString()),
    async firstLine(id) {
      for await (const _ of under.engine.logs(id, { follow: true })) return;
    },
  };
  return bed;
}

export async function rejects(promise: Promise<unknown>, code: EngineError['code']): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof EngineError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}
