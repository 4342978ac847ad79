/** Carries out a Dockerfile, stage by stage. */
import { TarError } from '#lib/tar/tar.ts';
import type { Image } from '../engine.ts';
import { readRunConfig } from '../images/assemble.ts';
import { checkPlatform } from './platform.ts';
import { writeLayer } from '../images/layer-archive.ts';
import { LayerStack } from '../images/layer-stack.ts';
import { asBytes, readSmall } from '../images/tree.ts';
import { BuildArguments, platformArguments } from './arguments.ts';
import type { BuildRequest, BuildSurroundings, BuiltImage, Confinement } from './build.ts';
import {
  type Config,
  type ConfigContext,
  configure,
  copyConfig,
  readConfig,
  shellOf,
  withPath,
  writeConfig,
} from './config.ts';
import { closeCopy, type Copy, planCopy, prepareCopy } from './copy.ts';
import { expandWord } from './dockerfile/expand.ts';
import { BuildError, type Dockerfile, type Instruction, type Stage } from './dockerfile/instruction.ts';
import { LARGEST_DOCKERFILE } from './dockerfile/lines.ts';
import { parseDockerfile, parseSingle } from './dockerfile/parse.ts';
import { LayerPlan } from './layer-plan.ts';
import { DockerIgnore } from './patterns.ts';
import { runCommand, runStep } from './run-step.ts';
import { checksum } from './sources.ts';
import { shortId, Steps } from './steps.ts';

interface StageState {
  name: string | undefined;
  image: Image | undefined;
  config: Config;
  /** Declared in this stage, with a value. */
  args: Map<string, string>;
  author: string | undefined;
}

/** The limit on time comes from the request; an abort rejects with the signal's reason. */
export async function buildImage(request: BuildRequest, surroundings: BuildSurroundings): Promise<BuiltImage> {
  const timeout = AbortSignal.timeout(request.timeoutMilliseconds);
  const signal = AbortSignal.any([request.signal, timeout]);
  try {
    const dockerfile = parseDockerfile(await readDockerfile(request));
    return await new Builder({ ...request, signal }, surroundings, dockerfile).build();
  } catch (error) {
    request.signal.throwIfAborted();
    if (timeout.aborted) {
      const seconds = Math.round(request.timeoutMilliseconds / 1000);
      throw new BuildError(`the build took longer than ${seconds} seconds and was stopped`, { cause: error });
    }
    if (error instanceof TarError) throw new BuildError(error.message, { cause: error });
    throw error;
  }
}

async function readDockerfile({ context, dockerfile }: BuildRequest): Promise<string> {
  const bytes = await readSmall(context, asBytes(dockerfile), LARGEST_DOCKERFILE);
  if (bytes === undefined) throw new BuildError(`Cannot locate specified Dockerfile: ${dockerfile}`);
  // The client sent them for us to read; whether they can be copied is for .dockerignore to say.
  const ignored = await readSmall(context, '.dockerignore', LARGEST_DOCKERFILE);
  if (ignored !== undefined) {
    const rules = new DockerIgnore(ignored.toString('utf8'));
    for (const path of ['.dockerignore', dockerfile]) if (rules.excludes(path)) context.remove(asBytes(path));
  }
  if (bytes.length === 0) throw new BuildError(`the Dockerfile (${dockerfile}) cannot be empty`);
  return bytes.toString('utf8');
}

class Builder {
  readonly #request: BuildRequest;
  readonly #surroundings: BuildSurroundings;
  readonly #dockerfile: Dockerfile;
  readonly #args: BuildArguments;
  readonly #steps: Steps;
  readonly #done: StageState[] = [];
  #step = 0;
  #total = 0;

  constructor(request: BuildRequest, surroundings: BuildSurroundings, dockerfile: Dockerfile) {
    this.#request = request;
    this.#surroundings = surroundings;
    this.#dockerfile = dockerfile;
    this.#args = new BuildArguments(request.buildArgs, platformArguments(request.platform));
    this.#steps = new Steps(surroundings, { useCache: request.useCache, scope: request.confined?.cacheScope });
  }

  async build(): Promise<BuiltImage> {
    const { globals, stages: all } = this.#dockerfile;
    const { output, engine } = this.#surroundings;
    const stages = this.#upToTarget(all);
    this.#total = globals.length + stages.reduce((sum, { instructions }) => sum + 1 + instructions.length, 0);
    for (const global of globals) {
      this.#announce(global.text);
      for (const argument of global.args)
        this.#args.declareGlobal(this.#expandedArgument(argument, this.#args.globals));
    }
    for (const stage of stages) {
      const state = await this.#stage(stage);
      this.#done.push(state);
      if (state.image !== undefined) output.image(state.image.id);
    }
    const last = this.#done.at(-1)?.image;
    if (last === undefined) throw new BuildError('No image was generated. Is your Dockerfile empty?');
    const image = await engine.images.adopt(last.digest, this.#request.tags);
    await this.#steps.forgetOld();
    return { image, unusedArgs: this.#args.unused() };
  }

  /** With the labels of the request, as if the last of them ended so. */
  #upToTarget(all: readonly Stage[]): Stage[] {
    const { target = '', labels } = this.#request;
    let end = all.length - 1;
    if (target !== '') {
      end = all.findIndex(({ name }, index) => name === target.toLowerCase() || String(index) === target);
      if (end < 0) throw new BuildError(`failed to reach build target ${target} in Dockerfile`);
    }
    const stages = all.slice(0, end + 1);
    const last = stages.at(-1);
    const quoted = (text: string): string => `'${text.replaceAll("'", `'"'"'`)}'`;
    const pairs = Object.entries(labels)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, value]): [string, string] => [quoted(name), quoted(value)]);
    if (last === undefined || pairs.length === 0) return stages;
    const text = `LABEL ${Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .sort()
      .join(' ')}`;
    return [
      ...stages.slice(0, -1),
      { ...last, instructions: [...last.instructions, { kind: 'LABEL', line: 0, text, pairs }] },
    ];
  }

  async #stage(stage: Stage): Promise<StageState> {
    const { output } = this.#surroundings;
    this.#announce(stage.text);
    const state = await this.#begin(stage);
    const triggers = state.config.onBuild.splice(0);
    // With triggers the last of them tells what the stage begins with.
    if (triggers.length === 0) output.text(` ---> ${state.image === undefined ? '' : shortId(state.image)}\n`);
    if (triggers.length > 0)
      output.text(`# Executing ${triggers.length} build trigger${triggers.length > 1 ? 's' : ''}\n`);
    for (const trigger of triggers) await this.#carryOut(state, parseSingle(trigger, this.#dockerfile.escape));
    for (const instruction of stage.instructions) {
      this.#announce(instruction.text);
      await this.#carryOut(state, instruction);
    }
    // From nothing, and nothing done: still an image.
    if (state.image === undefined && stage.instructions.length === 0)
      throw new BuildError('No image was generated. Is your Dockerfile empty?');
    return state;
  }

  async #begin(stage: Stage): Promise<StageState> {
    const { globals } = this.#args;
    const { escape } = this.#dockerfile;
    const base = expandWord(stage.base, globals, escape);
    const platform = stage.platform === undefined ? '' : expandWord(stage.platform, globals, escape);
    if (base === '') throw new BuildError(`base name (${stage.base}) should not be blank`);
    const fresh = { name: stage.name, args: new Map<string, string>(), author: undefined };
    const earlier = this.#done.findLast(({ name }) => name === base.toLowerCase());
    if (earlier !== undefined)
      return { ...fresh, image: earlier.image, config: { ...copyConfig(earlier.config), cmdIsOwn: false } };
    if (base.toLowerCase() === 'scratch') return { ...fresh, image: undefined, config: withPath(readConfig({})) };
    const image = await this.#image(base, platform || this.#request.platform);
    const config = withPath(readConfig(await readRunConfig(this.#surroundings.engine.images.content, image.id)));
    return { ...fresh, image, config };
  }

  /** The one that is here, or from its registry. */
  async #image(text: string, platform: string | undefined): Promise<Image> {
    const { engine, output, fullName } = this.#surroundings;
    const { images } = engine;
    const { confined } = this.#request;
    if (confined !== undefined) requireAllowed(fullName(text), text, confined);
    // What is here somebody else may have had a login for: their registry says who may have it.
    const here = confined === undefined ? (images.get(text) ?? images.get(fullName(text))) : undefined;
    // What is named by its id is in no registry.
    const isId =
      here !== undefined && !here.references.some((name) => [text, fullName(text)].some((one) => name.startsWith(one)));
    if (here !== undefined && (!this.#request.pull || isId)) {
      if (platform !== undefined) checkPlatform(platform, here.config);
      return here;
    }
    const reference = fullName(text);
    const [, architecture] = (platform ?? '').split('/');
    const credentials = this.#request.credentials(reference.split('/', 1)[0] ?? '');
    const image = await images.pull(reference, {
      signal: this.#request.signal,
      onProgress: output.pull(reference),
      ...(credentials === undefined ? {} : { credentials }),
      ...(architecture === undefined ? {} : { architecture }),
    });
    if (platform !== undefined) checkPlatform(platform, image.config);
    return image;
  }

  async #carryOut(state: StageState, instruction: Instruction): Promise<void> {
    this.#request.signal.throwIfAborted();
    if (instruction.kind === 'RUN') return await this.#run(state, instruction);
    if (instruction.kind === 'COPY' || instruction.kind === 'ADD') return await this.#copy(state, instruction);
    if (instruction.kind === 'ARG') return await this.#argument(state, instruction);
    if (instruction.kind === 'MAINTAINER') state.author = instruction.value;
    const told = configure(state.config, instruction, this.#context(state));
    if (told === undefined) throw new BuildError(`unknown instruction: ${instruction.kind}`);
    const directory = instruction.kind === 'WORKDIR' ? { layer: () => this.#makeDirectory(state) } : {};
    const createdBy = comment(state.config, instruction.kind === 'WORKDIR' ? told : ` ${told}`);
    await this.#take(state, { createdBy, ...directory });
  }

  async #argument(state: StageState, { args }: Extract<Instruction, { kind: 'ARG' }>): Promise<void> {
    const told = args.map((argument) => {
      const expanded = this.#expandedArgument(argument, this.#context(state).variables);
      const value = this.#args.declare(expanded);
      if (value !== undefined) state.args.set(expanded.name, value);
      return expanded.value === undefined ? expanded.name : `${expanded.name}=${expanded.value}`;
    });
    await this.#take(state, { createdBy: comment(state.config, ` ARG ${told.join(' ')}`) });
  }

  #expandedArgument(
    { name, value }: { name: string; value?: string },
    variables: ReadonlyMap<string, string>,
  ): {
    name: string;
    value?: string;
  } {
    const { escape } = this.#dockerfile;
    const expanded = { name: expandWord(name, variables, escape) };
    return value === undefined ? expanded : { ...expanded, value: expandWord(value, variables, escape) };
  }

  async #run(state: StageState, instruction: Extract<Instruction, { kind: 'RUN' }>): Promise<void> {
    const { image } = state;
    if (image === undefined) throw new BuildError('RUN failed: the image is empty, so there is nothing to run');
    const { command, script } = runCommand(state.config, instruction);
    const args = [...state.args]
      .filter(([name]) => !state.config.env.has(name))
      .map(([name, value]) => `${name}=${value}`);
    const hidden = [...this.#args.predefined()].filter(
      ([name]) => !state.args.has(name) && !state.config.env.has(name),
    );
    args.sort();
    const words = args.length === 0 ? command : [`|${args.length}`, ...args, ...command];
    await this.#take(state, {
      createdBy: words.join(' '),
      depends: [JSON.stringify([words, script ?? null, this.#request.network === 'none' ? 'none' : 'default'])],
      layer: async () =>
        await runStep({
          image,
          command,
          script,
          environment: [...hidden.map(([name, value]) => `${name}=${value}`), ...args],
          build: this.#request,
          surroundings: this.#surroundings,
        }),
    });
  }

  async #copy(state: StageState, instruction: Extract<Instruction, { kind: 'COPY' | 'ADD' }>): Promise<void> {
    const { variables, escape } = this.#context(state);
    const from = instruction.from === undefined ? undefined : await this.#sourceImage(instruction.from, variables);
    const stack = from === undefined ? undefined : await this.#open(from);
    try {
      const request = {
        instruction,
        variables,
        escape,
        workingDirectory: state.config.workingDirectory,
        from: stack ?? this.#request.context,
        build: this.#request,
        surroundings: this.#surroundings,
      };
      const copy = await prepareCopy(request);
      try {
        await this.#take(state, await this.#copyStep(state, request, copy, from));
      } finally {
        await closeCopy(copy);
      }
    } catch (error) {
      if (error instanceof TarError)
        throw new BuildError(`${instruction.kind} failed: ${error.message}`, { cause: error });
      throw error;
    } finally {
      stack?.close();
    }
  }

  async #copyStep(
    state: StageState,
    request: Parameters<typeof prepareCopy>[0],
    copy: Copy,
    from: Image | undefined,
  ): Promise<Pick<Parameters<Steps['take']>[0], 'createdBy' | 'depends' | 'dependsMore' | 'layer'>> {
    const { kind, owner = '', mode = '' } = request.instruction;
    const how = [owner, mode].map((text) => expandWord(text, request.variables, request.escape));
    const destination = `${copy.destination}${copy.isDirectory && copy.destination !== '/' ? '/' : ''}`;
    const kindOfSource =
      copy.sources.length > 1 ? 'multi' : copy.sources[0]?.node.type === 'directory' ? 'dir' : 'file';
    const layer = async () => {
      using image = await this.#open(state.image);
      const plan = await planCopy(request, copy, image);
      return await writeLayer(this.#surroundings.engine.images.content, plan.items(), this.#request.signal);
    };
    const hash = async (): Promise<string> => await checksum(copy.sources);
    if (from !== undefined && copy.sources.every(({ tree }) => tree === request.from)) {
      // An image is known by its id; only where that is another one its files are read to see whether they are the same.
      const paths = JSON.stringify([from.id, how, copy.sources.map(({ path, name }) => [path, name])]);
      const createdBy = comment(
        state.config,
        `${kind} ${kindOfSource}:${JSON.stringify(request.instruction.sources)} in ${destination} `,
      );
      return { createdBy, depends: [paths], dependsMore: async () => JSON.stringify([how, await hash()]), layer };
    }
    const digest = await hash();
    const createdBy = comment(state.config, `${kind} ${kindOfSource}:${digest} in ${destination} `);
    return { createdBy, depends: [JSON.stringify([how])], layer };
  }

  /** An earlier stage by name or number, or any image. */
  async #sourceImage(text: string, variables: ReadonlyMap<string, string>): Promise<Image> {
    const name = expandWord(text, variables, this.#dockerfile.escape);
    const index = /^\d{1,4}$/.test(name) ? Number(name) : -1;
    const stage = this.#done.findLast((one) => one.name === name.toLowerCase()) ?? this.#done[index];
    if (stage?.image !== undefined) return stage.image;
    if (index >= 0)
      throw new BuildError(`invalid from flag value ${name}: there is no build stage ${name} before this one`);
    return await this.#image(name, this.#request.platform);
  }

  async #makeDirectory(state: StageState): ReturnType<typeof writeLayer> {
    using image = await this.#open(state.image);
    const plan = new LayerPlan(image);
    plan.makeDirectory(plan.resolve(asBytes(state.config.workingDirectory)));
    return await writeLayer(this.#surroundings.engine.images.content, plan.items(), this.#request.signal);
  }

  async #open(image: Image | undefined): Promise<LayerStack> {
    const directories = image === undefined ? [] : await this.#surroundings.engine.images.layerDirectories(image);
    return new LayerStack(directories.map((directory) => ({ directory })));
  }

  #context(state: StageState): ConfigContext {
    return { variables: new Map([...state.args, ...state.config.env]), escape: this.#dockerfile.escape };
  }

  async #take(state: StageState, step: Omit<Parameters<Steps['take']>[0], 'parent' | 'config'>): Promise<void> {
    const config = writeConfig(state.config);
    state.image = await this.#steps.take({ ...step, parent: state.image, config }, state.author);
  }

  #announce(text: string): void {
    this.#request.signal.throwIfAborted();
    this.#step += 1;
    this.#surroundings.output.text(`Step ${this.#step}/${this.#total} : ${text}\n`);
  }
}

function requireAllowed(reference: string, text: string, { refused, allowed }: Confinement): void {
  const begins = (list: readonly string[]): boolean => list.some((prefix) => reference.startsWith(prefix));
  if (begins(refused) && !begins(allowed))
    throw new BuildError(`pull access denied for ${text}: this build may not have it`);
}

/** How the classic builder writes down what no command did. */
function comment(config: Config, text: string): string {
  return [...shellOf(config), `#(nop) ${text}`].join(' ');
}
