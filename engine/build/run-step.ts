/** `RUN`: a container of its own, its output told as it comes, its writable layer the step's layer. */
import { randomBytes } from 'node:crypto';
import { type Container, type ContainerExit, EngineError, type Image, type Mount } from '../engine.ts';
import type { WrittenLayer } from '../written.ts';
import type { BuildRequest, BuildSurroundings } from './build.ts';
import { type Config, commandWords } from './config.ts';
import { BuildError, type Instruction } from './dockerfile/instruction.ts';
import { heredocWord } from './dockerfile/lines.ts';

export interface RunRequest {
  image: Image;
  command: string[];
  /** A script that has its own interpreter. */
  script?: { path: string; content: string } | undefined;
  /** Arguments of the build, `NAME=value`. */
  environment: string[];
  build: BuildRequest;
  surroundings: BuildSurroundings;
}

const SCRIPTS = '/dev/pipes';

/** The command line, with heredocs as the shell reads them; one heredoc alone is the script itself. */
export function runCommand(
  config: Config,
  { command, heredocs }: Extract<Instruction, { kind: 'RUN' }>,
): { command: string[]; script?: RunRequest['script'] } {
  const [first] = heredocs;
  if (command.form === 'exec' || first === undefined) return { command: commandWords(config, command) };
  const isScript = heredocs.length === 1 && heredocWord(command.text) !== undefined;
  if (isScript && first.content.startsWith('#!')) {
    const path = `${SCRIPTS}/${first.name}`;
    return { command: commandWords(config, { form: 'shell', text: path }), script: { path, content: first.content } };
  }
  const text = isScript
    ? first.content
    : `${command.text}\n${heredocs.map(({ name, content }) => `${content}${name}\n`).join('')}`;
  return { command: commandWords(config, { form: 'shell', text }) };
}

/** @throws BuildError with the exit status where the command failed */
export async function runStep(request: RunRequest): Promise<WrittenLayer | undefined> {
  const { build, surroundings, command } = request;
  const { engine, output, containers } = surroundings;
  const id = randomBytes(32).toString('hex');
  const { name, labels, sandboxLabels } = containers.announce(id, command);
  /** Its own, to be removed with it. */
  let sandbox: string | undefined;
  let keeps = false;
  try {
    if (typeof build.network === 'string') {
      const made = await engine.createSandbox(
        {
          name: `build/${id}`,
          hostname: id.slice(0, 12),
          labels: sandboxLabels,
          egress: 'internet',
          hostAliases: build.hostAliases,
        },
        { signal: build.signal },
      );
      sandbox = made.id;
    }
    const joined = typeof build.network === 'string' ? undefined : build.network.sandbox;
    const container = await engine.createContainer(
      { ...spec(request), id, sandbox: sandbox ?? joined ?? '', name, labels },
      { signal: build.signal },
    );
    output.text(` ---> Running in ${id.slice(0, 12)}\n`);
    keeps = !build.remove.failed;
    const exit = await untilEnd(container, request);
    if (exit.code !== 0) {
      const line = command.join(' ');
      const why = exit.oomKilled ? ' (it was killed for want of memory)' : '';
      throw new BuildError(`The command '${line}' returned a non-zero code: ${exit.code}${why}`, {
        exitCode: exit.code,
      });
    }
    const layer = await engine.writeLayer(id, { signal: build.signal });
    keeps = !build.remove.succeeded;
    return layer;
  } finally {
    if (keeps && !build.signal.aborted) containers.keep(id);
    else {
      await remove(engine, id, sandbox);
      containers.forget(id);
      if (!build.signal.aborted) output.text(`Removing intermediate container ${id.slice(0, 12)}\n`);
    }
  }
}

async function remove(engine: BuildSurroundings['engine'], id: string, sandbox: string | undefined): Promise<void> {
  await engine.removeContainer(id, { force: true, logs: true });
  if (sandbox !== undefined) await engine.removeSandbox(sandbox);
}

function spec({
  image,
  command,
  script,
  environment,
  build,
}: RunRequest): Parameters<BuildSurroundings['engine']['createContainer']>[0] {
  const mounts: Mount[] =
    script === undefined
      ? []
      : [
          {
            kind: 'files',
            target: SCRIPTS,
            files: [{ path: script.path.slice(SCRIPTS.length + 1), content: Buffer.from(script.content), mode: 0o755 }],
          },
        ];
  return {
    sandbox: '',
    name: '',
    image: image.digest,
    command,
    env: environment,
    mounts,
    limits: build.limits,
    noNewPrivileges: false,
    network: build.network === 'none' ? 'none' : 'sandbox',
    resourceLimits: build.resourceLimits,
    ...(build.sharedMemoryBytes === undefined ? {} : { sharedMemoryBytes: build.sharedMemoryBytes }),
    // What follows reads the log: it must not be cut off while it reads.
    log: { maxBytes: 64 * 1024 * 1024, maxFiles: 4 },
  };
}

async function untilEnd({ id }: Container, { build, surroundings }: RunRequest): Promise<ContainerExit> {
  const { engine, output } = surroundings;
  const { signal } = build;
  try {
    await engine.startContainer(id);
  } catch (error) {
    if (error instanceof EngineError && error.code === 'invalid') throw new BuildError(error.message, { cause: error });
    throw error;
  }
  signal.throwIfAborted();
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  const told = (async () => {
    for await (const { stream, line } of engine.logs(id, { follow: true, raw: true, signal })) {
      const text = decoders[stream].decode(line, { stream: true });
      if (text === '') continue;
      if (stream === 'stdout') output.text(text);
      else output.errorText(text);
      await output.taken();
    }
  })();
  const [exit] = await Promise.all([engine.waitContainer(id, { signal }), told]);
  signal.throwIfAborted();
  return exit;
}
