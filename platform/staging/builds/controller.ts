/**
 * Does the builds that are in state STAGING. Level-triggered and crash-only: what was under way when the platform died
 * is STAGING still, and is done again from the start; pods of builds that are over are removed.
 */
import type { Informer } from '#cluster/client/client.ts';
import { ApiError } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import { sharedInformer } from '#cluster/client/shared-informer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods } from '../../resources/kubernetes.ts';
import { type Build, buildpacks, builds, catalogEntries, labels, type Space, spaces } from '../../resources/types.ts';
import type { CatalogueSource } from '../catalogue.ts';
import type { BuildChoice } from '../buildpack-names.ts';
import { StagingError, type StagingErrorCode } from '../staging.ts';
import { dockerBuild } from './docker-build.ts';
import type { DockerfileContext } from './dockerfile-build.ts';
import { deletePod } from './pod-changes.ts';
import { LastTurns, nextBuild, type Waiting } from './queue.ts';
import { sourceBuild } from './source-build.ts';

export interface BuildController {
  /** Resolves when nothing of it runs any more. Builds under way stay STAGING. */
  close(): Promise<void>;
}

export interface BuildControllerOptions extends Omit<DockerfileContext, 'pods'> {
  concurrency: number;
  /** The buildpacks that a build tries. @throws StagingError where one that it asks for is not there */
  wanted: (
    lifecycle: { buildpacks: readonly string[]; stack: string },
    changes: Pick<CatalogueSource, 'entry' | 'uploaded'>,
  ) => BuildChoice;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

/** Cloud Foundry's names (capi, "Errors"), where it has one. */
const CODES: Readonly<Record<StagingErrorCode, string>> = {
  'invalid-bits': 'AppBitsUploadInvalid',
  'too-large': 'AppBitsUploadInvalid',
  'no-image': 'StagingError',
  'no-app-detected': 'NoAppDetectedError',
  'build-failed': 'BuildpackCompileFailed',
  'timed-out': 'StagingTimeExpired',
  cancelled: 'StagingCancelled',
  'no-start-command': 'StartCommandNotFound',
  'out-of-memory': 'BuildpackCompileFailed',
  'disk-full': 'BuildpackCompileFailed',
  'not-rebasable': 'StagingError',
  registry: 'StagingError',
  internal: 'StagingError',
};

export function startBuildController(options: BuildControllerOptions): BuildController {
  const { client, log } = options;
  const onError = (error: unknown) => log('warn', 'Staging lost its watch for a moment', { error });
  const buildInformer: Informer<Build> = createInformer(client, builds, { onError });
  const podInformer: Informer<Pod> = createInformer(client, pods, { labelSelector: labels.build, onError });
  const entries = sharedInformer(client, catalogEntries, {}, onError);
  const uploaded = sharedInformer(client, buildpacks, {}, onError);
  const byNamespace = { 'platform/space-namespace': (space: Stored<Space>) => [space.spec.namespace] };
  const spaceInformer = sharedInformer(client, spaces, byNamespace, onError);
  const organizationOf = (namespace: string) =>
    spaceInformer.byIndex('platform/space-namespace', namespace)[0]?.spec.organization ?? '';
  const wanted = (lifecycle: { buildpacks: readonly string[]; stack: string }) =>
    options.wanted(lifecycle, { entry: (guid) => entries.get(guid), uploaded: uploaded.list() });
  const context: DockerfileContext = { ...options, pods: podInformer };
  const running = new Map<string, Waiting & { stop: AbortController; done: Promise<void> }>();
  const told = new Set<string>();
  const lastTurns = new LastTurns();
  const closing = new AbortController();
  let closed = false;

  const look = () => {
    if (closed) return;
    const open = buildInformer.list().filter(isOpen);
    const byGuid = new Map(open.map((build) => [build.metadata.name, build]));
    for (const { guid, stop } of running.values()) {
      const build = byGuid.get(guid);
      if (build === undefined || build.spec.cancelled === true)
        stop.abort(new StagingError('cancelled', 'the build was cancelled'));
    }
    const waiting = open
      .filter((build) => !running.has(build.metadata.name))
      .map((build) => waitingOf(build, organizationOf));
    lastTurns.forgetAllBut([...waiting, ...running.values()]);
    for (;;) {
      const next = nextBuild(waiting, [...running.values()], { slots: options.concurrency, lastTurns });
      const build = next && byGuid.get(next.guid);
      if (next === undefined || build === undefined) break;
      waiting.splice(waiting.indexOf(next), 1);
      lastTurns.note(next);
      const stop = new AbortController();
      const done = perform(build, stop.signal).finally(() => {
        running.delete(next.guid);
        told.delete(next.guid);
        look();
      });
      running.set(next.guid, { ...next, stop, done });
    }
    for (const { guid, app } of waiting) {
      if (told.has(guid)) continue;
      told.add(guid);
      options.say(app, `Waiting: ${running.size} other builds run, ${waiting.length} wait.`);
    }
  };

  const perform = async (build: Stored<Build>, signal: AbortSignal): Promise<void> => {
    const { app } = build.spec;
    // Who looks is told that it has begun; it does not wait for that.
    let begun: Promise<void> | undefined;
    try {
      if (build.spec.cancelled === true) throw new StagingError('cancelled', 'the build was cancelled');
      begun = writeStatus(build, {
        state: 'STAGING',
        startedAt: build.status?.startedAt ?? new Date().toISOString(),
        pod: `build-${build.metadata.name}`,
      });
      const droplet =
        build.spec.lifecycle.type === 'docker'
          ? await dockerBuild(context, build, signal)
          : await sourceBuild(context, build, wanted(build.spec.lifecycle), signal);
      await begun;
      await writeStatus(build, { state: 'STAGED', droplet, finishedAt: new Date().toISOString() });
      options.say(app, 'Staging complete');
    } catch (error) {
      await begun;
      if (closed) return;
      const reason: unknown = signal.aborted ? signal.reason : error;
      const known = reason instanceof StagingError ? reason : undefined;
      if (known === undefined || known.code === 'internal' || known.code === 'registry') {
        log('error', `A build failed: ${reason instanceof Error ? reason.message : String(reason)}`, {
          build: build.metadata.name,
          error: reason,
        });
      }
      const message = known?.message ?? (reason instanceof Error ? reason.message : String(reason));
      const code = CODES[known?.code ?? 'internal'];
      options.say(app, `Staging failed: ${message.split('; its last lines:')[0]}`);
      await writeStatus(build, { state: 'FAILED', error: { code, message }, finishedAt: new Date().toISOString() });
    }
  };

  const writeStatus = async (build: Stored<Build>, status: Partial<NonNullable<Build['status']>>): Promise<void> => {
    const namespace = build.metadata.namespace ?? '';
    try {
      const patch = { type: 'merge' as const, body: { status } };
      const written = await client.patch(builds, build.metadata.name, patch, { namespace, subresource: 'status' });
      // What runs next must not find this build open still.
      if (status.state !== 'STAGING') await buildInformer.reached(written.metadata.resourceVersion, closing.signal);
    } catch (error) {
      if (closed) return;
      // The build was deleted: nobody wants to know.
      if (!(error instanceof ApiError && error.code === 404))
        log('error', 'The status of a build could not be written', { build: build.metadata.name, error });
    }
  };

  const removeStale = async (): Promise<void> => {
    for (const pod of podInformer.list()) {
      const guid = pod.metadata.labels?.[labels.build] ?? '';
      const build = buildInformer.get(guid, pod.metadata.namespace);
      if (build === undefined || !isOpen(build))
        await deletePod(client, { name: pod.metadata.name, namespace: pod.metadata.namespace ?? '' });
    }
  };

  const informers = [buildInformer, podInformer, entries, uploaded, spaceInformer];
  const opened = Promise.all(informers.map(({ synced }) => synced)).then(async () => {
    if (closed) return;
    buildInformer.onChange(look);
    look();
    await removeStale();
  });
  opened.catch((error: unknown) => {
    if (!closed) log('error', 'Staging could not begin', { error });
  });

  return {
    async close() {
      closed = true;
      closing.abort();
      const under = [...running.values()];
      for (const { stop } of under) stop.abort(new StagingError('internal', 'the platform stops'));
      await Promise.allSettled(under.map(({ done }) => done));
      for (const informer of informers) informer.close();
    },
  };
}

function isOpen(build: Stored<Build>): boolean {
  return build.status?.state === undefined || build.status.state === 'STAGING';
}

function waitingOf(build: Stored<Build>, organizationOf: (namespace: string) => string): Waiting {
  const space = build.metadata.namespace ?? '';
  return {
    guid: build.metadata.name,
    app: build.spec.app,
    space,
    organization: organizationOf(space),
    since: build.metadata.creationTimestamp,
  };
}
