/** `POST /build`: the build room behind the classic builder's stream of JSON lines. */
import { drained } from '#lib/drained.ts';
import { type BuildOutput, type BuildRequest, MOST_CONTEXT_BYTES, MOST_CONTEXT_ENTRIES } from '../build/build.ts';
import { buildImage } from '../build/builder.ts';
import { isTarHeader, decompressed, peek } from '../build/decompress.ts';
import { BuildError } from '../build/dockerfile/instruction.ts';
import { download } from '../build/download.ts';
import { TarTree, type TarTreeOptions } from '../build/tar-tree.ts';
import { shortId } from '../build/steps.ts';
import type { NodeImages } from '../images/open.ts';
import { asBytes } from '../images/tree.ts';
import { contextDirectory, stepContainers } from './build-containers.ts';
import { type BuildWish, readBuildRequest } from './build-request.ts';
import { type Call, familiarName, findContainer, hubName } from './call.ts';
import { DockerError, toDockerError } from './errors.ts';
import { PULL_WORDS, reporter } from './image-transfer.ts';
import { Progress } from './progress.ts';

export async function build(call: Call): Promise<void> {
  const wish = readBuildRequest(call.query, call.request.headers);
  const gone = new AbortController();
  let context: TarTree | undefined;
  call.response.on('close', () => {
    gone.abort(new DockerError(499, 'the client has gone'));
    // A build whose engine is being closed may never come to its end, and a file that is forgotten ends the process. Of a close that
    // fails the one at the end tells.
    context?.close().catch(() => undefined);
  });
  const teller = new Teller(call, wish.quiet);
  try {
    context = await readContext(call, wish, gone.signal);
    const request: BuildRequest = {
      ...wish,
      ...dockerfileOf(wish, context),
      network: networkOf(call, wish),
      context,
      signal: gone.signal,
      timeoutMilliseconds: call.buildTimeoutMilliseconds,
    };
    const { image, unusedArgs } = await buildImage(request, {
      engine: { ...bound(call), images: call.engine.images as NodeImages },
      output: teller,
      containers: stepContainers(call.engine, call.docker),
      directory: contextDirectory(call.engine),
      fullName: hubName,
    });
    if (unusedArgs.length > 0)
      teller.text(`[Warning] One or more build-args [${unusedArgs.join(' ')}] were not consumed\n`);
    teller.text(`Successfully built ${shortId(image)}\n`);
    for (const tag of wish.tags) teller.text(`Successfully tagged ${familiarName(tag)}\n`);
    teller.end(image.id);
  } catch (error) {
    if (gone.signal.aborted) return;
    teller.fail(error);
  } finally {
    await context?.close();
  }
}

/** `container:`: steps are in the sandbox of a container that is there. */
function networkOf(call: Call, { network }: BuildWish): BuildRequest['network'] {
  return typeof network === 'string' ? network : { sandbox: findContainer(call, network.container).sandbox };
}

/** What the build room asks of the engine, as functions of it. */
function bound({ engine }: Call): Omit<Parameters<typeof buildImage>[1]['engine'], 'images'> {
  return {
    createSandbox: async (...args) => await engine.createSandbox(...args),
    removeSandbox: async (...args) => await engine.removeSandbox(...args),
    createContainer: async (...args) => await engine.createContainer(...args),
    startContainer: async (...args) => await engine.startContainer(...args),
    waitContainer: async (...args) => await engine.waitContainer(...args),
    removeContainer: async (...args) => await engine.removeContainer(...args),
    logs: (...args) => engine.logs(...args),
    writeLayer: async (...args) => await engine.writeLayer(...args),
  };
}

/** The body, or what an address leads to: an archive, or a Dockerfile alone. */
async function readContext(call: Call, wish: BuildWish, signal: AbortSignal): Promise<TarTree> {
  const options: TarTreeOptions = {
    directory: contextDirectory(call.engine),
    what: 'build context',
    maxBytes: MOST_CONTEXT_BYTES,
    maxEntries: MOST_CONTEXT_ENTRIES,
    signal,
  };
  const { remote } = wish;
  if (remote === '') return await TarTree.read(await decompressed(call.request as AsyncIterable<Buffer>), options);
  call.request.resume();
  if (/^(git:\/\/|git@|ssh:\/\/|github\.com\/)|\.git(#.*)?$/.test(remote)) {
    throw new DockerError(
      400,
      `invalid parameter: remote: ${remote} is a git repository, which this engine does not clone; clone it and send the files`,
    );
  }
  const { body } = await download(remote, signal);
  const { head, whole } = await peek(await decompressed(body), 512);
  return isTarHeader(head)
    ? await TarTree.read(whole, options)
    : await TarTree.ofFile(whole, { name: asBytes(wish.dockerfile), mode: 0o644, mtimeSeconds: 0 }, options);
}

/** `dockerfile` does as well where no name was given. */
function dockerfileOf({ dockerfile }: BuildWish, context: TarTree): { dockerfile: string } {
  const isThere = context.lookup(asBytes(dockerfile)) !== undefined;
  return {
    dockerfile: !isThere && dockerfile === 'Dockerfile' && context.lookup('dockerfile') ? 'dockerfile' : dockerfile,
  };
}

/** Quiet: everything is held back, and told only where the build fails. */
class Teller implements BuildOutput {
  readonly #call: Call;
  readonly #progress: Progress;
  readonly #held: string[] | undefined;

  constructor(call: Call, quiet: boolean) {
    this.#call = call;
    this.#progress = new Progress(call);
    this.#held = quiet ? [] : undefined;
  }

  text(text: string): void {
    if (this.#held === undefined) this.#progress.say({ stream: text });
    else this.#held.push(text);
  }

  /** In red, as Docker's daemon writes it. */
  errorText(text: string): void {
    this.text(`\u001b[91m${text}\u001b[0m`);
  }

  taken(): Promise<void> {
    return drained(this.#call.response);
  }

  image(id: string): void {
    if (this.#held === undefined) this.#progress.say({ aux: { ID: id } });
  }

  pull(reference: string): ReturnType<BuildOutput['pull']> {
    if (this.#held !== undefined) return () => undefined;
    this.#progress.say({ status: `Pulling from ${familiarName(reference)}` });
    return reporter(this.#progress, PULL_WORDS);
  }

  end(id: string): void {
    if (this.#held !== undefined) this.#progress.say({ stream: `${id}\n` });
    this.#progress.end();
  }

  fail(error: unknown): void {
    for (const text of this.#held ?? []) this.#progress.say({ stream: text });
    // Nothing was told yet: the status can say it.
    if (!this.#call.response.headersSent) throw error;
    const { message } = toDockerError(error);
    const code = error instanceof BuildError && error.exitCode !== undefined ? { code: error.exitCode } : {};
    this.#progress.say({ errorDetail: { ...code, message }, error: message });
    this.#progress.end();
  }
}
