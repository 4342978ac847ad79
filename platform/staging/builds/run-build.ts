/** One build from package to droplet. Rejects with a `StagingError`; the pod and the build's image are gone in any case. */
import { createHash } from 'node:crypto';
import { stripVTControlCharacters } from 'node:util';
import type { Client, Informer } from '#cluster/client/client.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ContainerStateTerminated, Pod } from '#cluster/kinds/types/core.ts';
import { pods } from '../../resources/kubernetes.ts';
import { type Build, type Droplet, droplets, labels, processes } from '../../resources/types.ts';
import { appRepository } from '../bits/package-image.ts';
import type { Builder } from '../builder/builder.ts';
import { writeBuildImage } from '../builder/build-image.ts';
import { LARGEST_RESULT, parseBuildResult } from '../export/build-result.ts';
import { writeBillOfMaterials } from '../export/bill-of-materials.ts';
import { type Exported, exportDroplet, type ExportOptions } from '../export/exporter.ts';
import { type Previous, readPrevious, writePrevious } from '../export/previous.ts';
import { ownRunImage } from '../export/run-image.ts';
import type { Layer } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import type { Runtime, Runtimes } from '../runtimes/runtimes.ts';
import { type BuildResult, exitCodes, RESULT_PATH, type WantedBuildpacks } from '../lifecycle/protocol.ts';
import { STACK_NAME } from '../stack/recipe.ts';
import { StagingError } from '../staging.ts';
import { uploadedLayers } from '../uploaded-buildpacks.ts';
import { followBuild } from './build-log.ts';
import { buildPod, buildpackVariables, buildPodName } from './build-pod.ts';
import { readDirectory, readFile } from './container-tar.ts';
import { deletePod, isRunning, terminated, untilPod } from './pod-changes.ts';
import { readVariables, reusable, type ReuseFacts, reuseKey, reuseOf } from './reuse.ts';
import { sourcePackage } from './source-package.ts';
import { withRuntimes } from './with-runtimes.ts';

export interface BuildContext {
  client: Client;
  registry: RegistryClient;
  pods: Informer<Pod>;
  builder: () => Promise<Builder>;
  runtimes: Runtimes;
  environment: Record<string, string>;
  /** Which addresses registries of images may have. */
  guard: AddressGuard;
  say: (app: string, line: string) => void;
}

const LAST_LINES = 12;
export const RESULT_FILE = { path: RESULT_PATH, most: LARGEST_RESULT };

/** What a build is made of, besides itself. */
export interface Parts {
  repository: string;
  builder: Builder;
  wanted: WantedBuildpacks;
  uploaded: readonly Layer[];
  previous: Previous;
  source: Layer;
  /** About the next build, which may be spared. */
  facts: ReuseFacts;
}

/** Returns the droplet's guid. */
export async function runBuild(
  context: BuildContext,
  build: Stored<Build>,
  wanted: WantedBuildpacks,
  outer: AbortSignal,
): Promise<string> {
  const { client, registry, environment } = context;
  const repository = appRepository(build.spec.app);
  const builder = await context.builder();
  const [source, previous, uploaded, variables] = await Promise.all([
    sourcePackage(context, build, repository),
    readPrevious(registry, repository, builder.stack.digest),
    uploadedLayers(registry, wanted),
    readVariables(client, build),
    // A platform that was killed may have left one.
    deletePod(client, podOf(build)),
  ]);
  const facts: ReuseFacts = {
    key: reuseKey({ builder, wanted, uploaded, environment, variables }),
    package: build.spec.package,
    shape: source.shape,
    index: source.index,
    now: Date.now(),
  };
  const parts: Parts = { repository, builder, wanted, uploaded, previous, source: source.layer, facts };
  const again = await reusable(previous.reuse, facts);
  if (again === undefined) return await buildAnew(context, build, parts, outer);
  const { app } = build.spec;
  context.say(app, `-----> ${again.buildpacks.map(({ id, version }) => `${id} ${version}`.trimEnd()).join(', ')}`);
  context.say(app, '       Nothing that they look at has changed since the last build: taking its result');
  const runtimes = await provideRuntimes(context, build, again.runtimes);
  const made = { result: again, ...onStack(builder, runtimes), readDirectory: nothingLeft, signal: outer };
  return await keep(context, build, parts, made);
}

export function podOf(build: Stored<Build>): { name: string; namespace: string } {
  return { name: buildPodName(build), namespace: build.metadata.namespace ?? '' };
}

function nothingLeft(path: string): never {
  throw new StagingError('internal', `${path} cannot be read from a build that was not done`);
}

async function buildAnew(
  context: BuildContext,
  build: Stored<Build>,
  parts: Parts,
  outer: AbortSignal,
): Promise<string> {
  const { client, registry, environment } = context;
  const { repository, wanted } = parts;
  const pod = podOf(build);
  const tag = `build-${build.metadata.name}`;
  await untilPod(context.pods, pod, isGone, outer);
  // Aborting it ends streams and exec sessions that an error left open.
  const work = new AbortController();
  const signal = AbortSignal.any([outer, work.signal]);
  try {
    const run = async (mounted: readonly Runtime[]): Promise<BuildResult> => {
      const digest = await writeBuildImage({ ...parts, runtimes: mounted, registry, tag, signal });
      const image = registry.reference(repository, digest);
      await client.create(pods, buildPod({ build, image, env: buildpackVariables(wanted, environment) }));
      const said = await buildInPod(context, build, pod, signal);
      return parseBuildResult(said ?? (await readFile({ client, pod }, RESULT_FILE, signal)));
    };
    const clear = async (): Promise<void> => {
      await deletePod(client, pod);
      await untilPod(context.pods, pod, isGone, signal);
    };
    const provide = (names: readonly string[]) => provideRuntimes(context, build, names);
    const { result, runtimes } = await withRuntimes({ last: parts.previous.runtimes, provide, run, clear });
    const readPart = (path: string) => readDirectory({ client, pod }, path, signal);
    const made = { result, ...onStack(parts.builder, runtimes), readDirectory: readPart, signal };
    return await keep(context, build, parts, made);
  } finally {
    work.abort();
    await Promise.all([deletePod(client, pod), registry.deleteManifest(repository, tag)]);
  }
}

function onStack(builder: Builder, runtimes: readonly Runtime[]): Pick<Made, 'run' | 'seeds' | 'stack'> {
  return { run: ownRunImage(builder, runtimes), seeds: builder.seeds, stack: STACK_NAME };
}

export function isGone(pod: Stored<Pod> | undefined): true | undefined {
  return pod === undefined ? true : undefined;
}

function provideRuntimes(context: BuildContext, build: Stored<Build>, names: readonly string[]): Promise<Runtime[]> {
  return context.runtimes.provide(names, (message) => context.say(build.spec.app, `-----> ${message}`));
}

type Made = Pick<ExportOptions, 'run' | 'seeds' | 'result' | 'readDirectory' | 'signal'> & { stack?: string };

/** Makes the droplet of a result. */
export async function keep(
  context: BuildContext,
  build: Stored<Build>,
  parts: Pick<Parts, 'repository' | 'previous' | 'source' | 'facts'>,
  made: Made,
): Promise<string> {
  const { client, registry } = context;
  const { repository, previous, facts } = parts;
  if (made.result.processes.length === 0) await requireCommand(client, build);
  const exported = await exportDroplet({
    ...parts,
    ...made,
    registry,
    layerBytes: build.spec.diskMb * 1024 * 1024,
    onProgress: (message) => context.say(build.spec.app, `       ${message}`),
  });
  const reuse = await reuseOf(made.result, { ...facts, before: previous.reuse });
  const droplet = dropletGuid(build);
  // The droplet is whole before what is said about it is; the build is over when all of it is there.
  const store = async (): Promise<void> => {
    await registry.putManifest(repository, `droplet-${droplet}`, exported.manifest);
    await createDroplet(context, build, droplet, { ...exported, stack: made.stack });
  };
  await Promise.all([
    store(),
    writeBillOfMaterials(registry, repository, exported, exported.components),
    writePrevious(registry, repository, { ...exported.next, ...(reuse === undefined ? {} : { reuse }) }),
  ]);
  return droplet;
}

/** Resolves when the build wrote its result, with the result where it was short. */
export async function buildInPod(
  context: BuildContext,
  build: Stored<Build>,
  pod: { name: string; namespace: string },
  signal: AbortSignal,
): Promise<string | undefined> {
  const { client, say } = context;
  const last: string[] = [];
  const onLine = (line: string) => {
    last.push(line);
    if (last.length > LAST_LINES) last.shift();
    say(build.spec.app, line);
  };
  await untilPod(context.pods, pod, (now) => startedOrFailed(now), signal);
  const deadline = AbortSignal.timeout(build.spec.timeoutSeconds * 1000);
  const limited = AbortSignal.any([signal, deadline]);
  try {
    const outcome = await followBuild({ client, pod, onLine, signal: limited });
    if (outcome.finished) return outcome.said;
    const end = await untilPod(context.pods, pod, (now) => (now === undefined ? gone() : terminated(now)), limited);
    throw failure(build, end, last);
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    throw new StagingError(
      'timed-out',
      `the build took more than ${build.spec.timeoutSeconds} s and was stopped${tail(last)}`,
    );
  }
}

export function startedOrFailed(pod: Stored<Pod> | undefined): true | undefined {
  if (pod === undefined) return undefined;
  if (isRunning(pod) || terminated(pod) !== undefined) return true;
  if (pod.status?.phase === 'Failed') {
    throw new StagingError(
      'internal',
      `the build's pod failed: ${pod.status.message ?? pod.status.reason ?? 'without a reason'}`,
    );
  }
  const waiting = pod.status?.containerStatuses?.[0]?.state?.waiting;
  if (
    waiting?.reason !== undefined &&
    /^(CreateContainer|RunContainer|InvalidImage|ErrImageNeverPull|StartError)/.test(waiting.reason)
  ) {
    throw new StagingError(
      'internal',
      `the build's container cannot start: ${waiting.reason}: ${waiting.message ?? ''}`,
    );
  }
  return undefined;
}

function gone(): never {
  throw new StagingError('internal', "somebody deleted the build's pod");
}

export function failure(build: Stored<Build>, end: ContainerStateTerminated, last: string[]): StagingError {
  const { exitCode: code, reason, message } = end;
  if (reason === 'StartError')
    return new StagingError('internal', `the build's container cannot start: ${message ?? ''}`);
  // Its words are part of the output already.
  const words = tail(last);
  if (reason === 'OOMKilled' || code === exitCodes.outOfMemory || code === 137) {
    return new StagingError(
      'out-of-memory',
      `the build needs more than its ${build.spec.memoryMb} MB of memory${words}`,
    );
  }
  if (code === exitCodes.diskFull)
    return new StagingError('disk-full', `the build needs more than its ${build.spec.diskMb} MB of disk${words}`);
  if (code === exitCodes.notDetected) {
    return new StagingError(
      'no-app-detected',
      'no buildpack fits the source: push a directory with a package.json, requirements.txt, pyproject.toml, go.mod, pom.xml, a jar, Gemfile, composer.json, Staticfile, index.html, Procfile or Dockerfile, or name a buildpack with -b',
    );
  }
  return new StagingError('build-failed', `the build failed${words}`);
}

function tail(last: string[]): string {
  const clean = last.map((line) => stripVTControlCharacters(line).trimEnd()).filter((line) => line !== '');
  return clean.length === 0 ? '' : `; its last lines:\n${clean.join('\n').slice(-2000)}`;
}

/** A droplet that starts nothing is of use only where the user gave a command of his own. */
export async function requireCommand(client: Client, build: Stored<Build>): Promise<void> {
  const { items } = await client.list(processes, { namespace: build.metadata.namespace ?? '' });
  if (items.some(({ spec }) => spec.app === build.spec.app && spec.command !== undefined)) return;
  throw new StagingError(
    'no-start-command',
    'the app says nowhere how it is started: add a start script to package.json, a Procfile or a CMD, or push with -c COMMAND',
  );
}

/** Of the build's: a build that is done again after a crash makes the same droplet. */
export function dropletGuid(build: Stored<Build>): string {
  const hex = createHash('sha256').update(`droplet of ${build.metadata.uid}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

async function createDroplet(
  context: BuildContext,
  build: Stored<Build>,
  guid: string,
  exported: Exported & { stack: string | undefined },
): Promise<void> {
  const { client, registry } = context;
  await storeDroplet(client, build, guid, {
    spec: {
      app: build.spec.app,
      package: build.spec.package,
      build: build.metadata.name,
      image: registry.reference(appRepository(build.spec.app), exported.digest),
      processTypes: exported.processTypes,
      lifecycle: build.spec.lifecycle.type,
      ...(exported.stack === undefined ? {} : { stack: exported.stack }),
      buildpacks: exported.buildpacks,
      ports: [8080],
      user: '1000:1000',
    },
    status: { state: 'STAGED', checksum: exported.digest, sizeBytes: exported.sizeBytes },
  });
}

export async function storeDroplet(
  client: Client,
  build: Stored<Build>,
  guid: string,
  content: Pick<Droplet, 'spec'> & { status: NonNullable<Droplet['status']> },
): Promise<void> {
  const namespace = build.metadata.namespace ?? '';
  const droplet: Droplet = {
    apiVersion: 'platform.sampan.dev/v1',
    kind: 'Droplet',
    metadata: {
      name: guid,
      namespace,
      labels: {
        [labels.app]: build.spec.app,
        [labels.package]: build.spec.package,
        [labels.build]: build.metadata.name,
      },
      // The app's, through the build: deleting the app collects it.
      ownerReferences: (build.metadata.ownerReferences ?? []).filter(({ kind }) => kind === 'App'),
    },
    spec: content.spec,
  };
  let stored: Stored<Droplet>;
  try {
    stored = await client.create(droplets, droplet);
  } catch (error) {
    if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
    stored = await client.get(droplets, guid, namespace);
  }
  await client.updateStatus(droplets, { ...stored, status: content.status });
}
