/** An engine with a container in a process of its own, to be frozen or killed: options and the container's spec as JSON in the first argument. */
import type { ContainerSpec } from '#engine/engine.ts';
import { openEngine } from '#engine/open.ts';
import type { EngineOptions } from '#engine/options.ts';
import { addBusyboxImage } from './busybox-image.ts';

export interface EngineProcessOptions {
  engine: EngineOptions;
  container: Pick<ContainerSpec, 'command' | 'log'>;
}

/** Its first message. */
export interface StartedContainer {
  id: string;
  pid: number;
  logPath: string;
}

const options = JSON.parse(process.argv[2] ?? '{}') as EngineProcessOptions;
const engine = await openEngine(options.engine);
const image = await addBusyboxImage(engine.images);
const sandbox = await engine.createSandbox({ name: 'one', hostname: 'one' });
const { id } = await engine.createContainer({ ...options.container, sandbox: sandbox.id, name: 'main', image });
await engine.startContainer(id);
const { pid = 0, logPath = '' } = engine.container(id) ?? {};
process.send?.({ id, pid, logPath } satisfies StartedContainer);
