/**
 * Whose processes a container shares: those of the container that an ephemeral one looks at, or, with `shareProcessNamespace`,
 * those of the whole pod. Their first process is then one of the agent's own (`pause.ts`), in a container that is no part of
 * the pod's spec: it ends with the sandbox, whichever of the others end before.
 */
import type { Container, Image } from '#engine/engine.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { NodeContext } from './context.ts';
import { AgentError } from './errors.ts';
import { containerNameLabel, podUidLabel } from './labels.ts';
import { pauseProgram } from './pause.ts';

const pauseName = 'pause';
const pauseDirectory = '/.pause';
/** As upstream's. */
const pauseUser = '65535:65535';

export interface ProcessesRequest {
  context: NodeContext;
  pod: Pod;
  sandbox: string;
  /** `targetContainerName` of an ephemeral container. */
  target: string | undefined;
  /** Of the container that is about to be made: the first process's files are those of the first. */
  image: Image;
  signal: AbortSignal;
}

/** Id of the container whose processes are shared; undefined where it has its own. */
export async function processesOf(request: ProcessesRequest): Promise<string | undefined> {
  const { context, pod, sandbox, target } = request;
  if (pod.spec?.shareProcessNamespace === true) return await pauseOf(request);
  if (!target) return undefined;
  const found = runningIn(context, sandbox).find(({ labels }) => labels[containerNameLabel] === target);
  if (found) return found.id;
  throw new AgentError('CreateContainerConfigError', `unable to find target container "${target}": it does not run`);
}

function runningIn({ engine }: NodeContext, sandbox: string): Container[] {
  return engine.containers().filter((one) => one.sandbox === sandbox && one.state === 'running');
}

/** Containers of one pod start beside each other. */
const making = new Map<string, Promise<string>>();

async function pauseOf(request: ProcessesRequest): Promise<string> {
  const { context, sandbox } = request;
  const running = runningIn(context, sandbox).find(({ name }) => name === pauseName);
  if (running) return running.id;
  const made = making.get(sandbox) ?? makePause(request).finally(() => making.delete(sandbox));
  making.set(sandbox, made);
  return await made;
}

async function makePause({ context, pod, sandbox, image, signal }: ProcessesRequest): Promise<string> {
  const { engine } = context;
  const content = pauseProgram();
  if (content === undefined)
    throw new AgentError('CreateContainerConfigError', `shareProcessNamespace is not supported on ${process.arch}`);
  // One that an agent before made and could not start, or that was killed with all that shared it.
  const old = engine.containers().find((one) => one.sandbox === sandbox && one.name === pauseName);
  if (old) await engine.removeContainer(old.id, { force: true, logs: true });
  const { id } = await engine.createContainer(
    {
      sandbox,
      name: pauseName,
      image: image.digest,
      command: [`${pauseDirectory}/pause`],
      workingDirectory: '/',
      user: pauseUser,
      labels: { [podUidLabel]: pod.metadata.uid ?? '' },
      limits: { pids: 4, memoryBytes: 16 * 2 ** 20, cpuShares: 2 },
      mounts: [{ kind: 'files', target: pauseDirectory, files: [{ path: 'pause', content, mode: 0o755 }] }],
      readOnlyRoot: true,
      capabilities: { drop: ['ALL'] },
    },
    { signal },
  );
  await engine.startContainer(id);
  return id;
}
