/**
 * The contract of the build room: an image from a Dockerfile and a context, as Docker's classic builder makes it.
 *
 * Every instruction makes an image of its own from the one before: its parent's layers, perhaps one more, and a configuration.
 * Such a step is kept under what it was made from (parent, instruction, arguments that it used, checksums of what it copied), in the
 * scope `:build-cache` of the content store, and is found there by the next build: that is the whole cache.
 *
 *   `RUN`          a container of the engine under its default profile, in a sandbox whose packets reach neither this host nor pods;
 *                  its writable layer becomes the step's layer
 *   `COPY`, `ADD`  a layer that is streamed from the context, the archive or the other image straight into the content store
 *   the others     a configuration
 *
 * Promises
 *   - Context and Dockerfile are hostile. The context is never unpacked (`tar-tree.ts`), destinations are resolved inside the image
 *     (`layer-plan.ts`), and what cannot be is refused by name.
 *   - A build that was aborted, failed or killed leaves no container, sandbox, name or file; cached steps stay, whole.
 *   - Messages that a classic client shows are in the classic builder's words.
 *
 * Errors are `BuildError`s (what is wrong with the Dockerfile, or a command that failed) and `EngineError`s.
 */
import type { ContainerSpec, Engine, Image, Limits, PullOptions } from '../engine.ts';
import type { NodeImages } from '../images/open.ts';
import type { TarTree } from './tar-tree.ts';

export type BuildEngine = Pick<
  Engine,
  | 'createSandbox'
  | 'removeSandbox'
  | 'createContainer'
  | 'startContainer'
  | 'waitContainer'
  | 'removeContainer'
  | 'logs'
  | 'writeLayer'
> & { images: NodeImages };

export interface BuildRequest {
  context: TarTree;
  /** Within the context. */
  dockerfile: string;
  /** By name; undefined values are as if they were not given. */
  buildArgs: ReadonlyMap<string, string>;
  labels: Readonly<Record<string, string>>;
  /** Last stage to build: its name or number. */
  target?: string;
  /** Names that the image gets, canonical. */
  tags: string[];
  useCache: boolean;
  /** Pull the base images also where they are here. */
  pull: boolean;
  /** `linux/amd64`, for stages that name none. */
  platform?: string;
  /** `sandbox`: steps run in one that is there already, and share its network and its ids. */
  network: 'default' | 'none' | { sandbox: string };
  /** Absent: whoever asks may have whatever the engine has. */
  confined?: Confinement;
  hostAliases: { ip: string; names: string[] }[];
  limits: Limits;
  sharedMemoryBytes?: number;
  resourceLimits: NonNullable<ContainerSpec['resourceLimits']>;
  /** Of the whole build. */
  timeoutMilliseconds: number;
  /** Whether containers of steps are removed: after a step that succeeded, and after one that failed. */
  remove: { succeeded: boolean; failed: boolean };
  credentials: (host: string) => PullOptions['credentials'];
  signal: AbortSignal;
}

/**
 * What holds a build off what others have on the same engine: base images come from their registries, each time, and never from
 * what is here (others may have had a login for it); addresses are not fetched from the host's network.
 */
export interface Confinement {
  /** Steps of other scopes are not in its cache, and its own in nobody else's. */
  cacheScope: string;
  /** Beginnings of image names that are refused, but for those that are allowed. */
  refused: readonly string[];
  allowed: readonly string[];
}

/** What the build tells while it goes on. */
export interface BuildOutput {
  /** A piece of text for the client's screen. */
  text(text: string): void;
  /** What a command wrote on its standard error. */
  errorText(text: string): void;
  /** Resolves when whoever listens has taken what was told, so that a slow one is waited for. */
  taken(): Promise<void>;
  /** A stage ended with this image. */
  image(id: string): void;
  pull(reference: string): NonNullable<PullOptions['onProgress']>;
}

/** How containers of steps are made known to whoever serves them. */
export interface StepContainers {
  /** Written down before it is made, so that one that a killed engine left is found. @returns its labels and name */
  announce(
    id: string,
    command: string[],
  ): { name: string; labels: Record<string, string>; sandboxLabels: Record<string, string> };
  /** It stays: somebody wants to look at it. */
  keep(id: string): void;
  /** It is gone. */
  forget(id: string): void;
}

export interface BuildSurroundings {
  engine: BuildEngine;
  output: BuildOutput;
  containers: StepContainers;
  /** For what lies on the disk while builds run, without a name. */
  directory: string;
  /** An image's name as the client means it: with its registry. */
  fullName: (text: string) => string;
}

export interface BuiltImage {
  image: Image;
  /** Arguments that were given and that no instruction asked for. */
  unusedArgs: string[];
}

/** Limits on what a client sends. */
export const MOST_CONTEXT_BYTES = 32 * 1024 ** 3;
export const MOST_CONTEXT_ENTRIES = 500_000;
export const DEFAULT_TIMEOUT_MILLISECONDS = 2 * 60 * 60 * 1000;
