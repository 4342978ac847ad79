/** One build of a Dockerfile, from package to droplet. Rejects with a `StagingError`; the pod is gone in any case. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods } from '../../resources/kubernetes.ts';
import type { RegistryLogin } from '../../resources/registry-logins.ts';
import type { Build } from '../../resources/types.ts';
import { appRepository } from '../bits/package-image.ts';
import type { Builder } from '../builder/builder.ts';
import { contextOf } from '../dockerfiles/context.ts';
import { DOCKERFILE_BUILDPACK, type DockerfileBuilder, type DockerfileRequest } from '../dockerfiles/dockerfiles.ts';
import type { ImageConfigFile } from '../images/oci.ts';
import { STACK_REPOSITORY } from '../stack/stack.ts';
import { StagingError } from '../staging.ts';
import { loginsOf } from './app-logins.ts';
import { BUILD_CONTAINER, BUILD_PIDS, buildCpuMillis, buildPod, buildPodName } from './build-pod.ts';
import { imageFacts } from './docker-build.ts';
import { deletePod, untilPod } from './pod-changes.ts';
import { readVariables } from './reuse.ts';
import { type BuildContext, dropletGuid, requireCommand, startedOrFailed, storeDroplet } from './run-build.ts';
import { sourcePackage } from './source-package.ts';

export interface DockerfileContext extends BuildContext {
  dockerfiles: DockerfileBuilder | undefined;
}

/** Whether the package has such a file. */
export async function hasFile(context: BuildContext, build: Stored<Build>, path: string): Promise<boolean> {
  const source = await sourcePackage(context, build, appRepository(build.spec.app));
  return (await source.index()).some((entry) => entry.path === path);
}

/** Returns the droplet's guid. */
export async function dockerfileBuild(
  context: DockerfileContext,
  build: Stored<Build>,
  dockerfile: string,
  outer: AbortSignal,
): Promise<string> {
  const { client, registry, dockerfiles } = context;
  if (dockerfiles === undefined)
    throw new StagingError('build-failed', 'Dockerfiles are not built by this platform: push an image with -o');
  const repository = appRepository(build.spec.app);
  const pod = { name: buildPodName(build), namespace: build.metadata.namespace ?? '' };
  const [builder, source, variables, logins] = await Promise.all([
    context.builder(),
    sourcePackage(context, build, repository),
    readVariables(client, build),
    loginsOf(client, build),
    // A platform that was killed may have left one.
    deletePod(client, pod),
  ]);
  if (!(await source.index()).some(({ path }) => path === dockerfile))
    throw new StagingError('build-failed', `there is no ${dockerfile} in the source: name the Dockerfile that is`);
  context.say(build.spec.app, `-----> Dockerfile ${dockerfile}`);
  for (const [host, login] of Object.entries(logins)) {
    if ('token' in login)
      context.say(build.spec.app, `       The login of ${host} is a token: base images need a name and a password`);
  }
  await untilPod(context.pods, pod, (now) => (now === undefined ? true : undefined), outer);
  const guid = dropletGuid(build);
  const reference = `${registry.host}/${repository}:droplet-${guid}`;
  try {
    const image = stackReference(registry.host, builder);
    const place = { build, image, env: {}, command: ['sleep', 'infinity'], node: dockerfiles.node };
    await client.create(pods, buildPod(place));
    await untilPod(context.pods, pod, startedOrFailed, outer);
    const container = await untilPod(context.pods, pod, containerId, outer);
    await inTime(build, outer, (signal) =>
      dockerfiles.build({
        context: () => contextOf(registry, repository, source.layer),
        dockerfile,
        buildArgs: { ...context.environment, ...plain(variables), ...ownArguments(registry.host, builder) },
        logins: Object.fromEntries(Object.entries(logins).filter(isPassword)),
        reference,
        container,
        ...bounds(build, registry.host),
        onLine: (line) => context.say(build.spec.app, `       ${line}`),
        signal,
      }),
    );
  } finally {
    await deletePod(client, pod);
  }
  return await keep(context, build, { repository, tag: `droplet-${guid}` });
}

function bounds(build: Stored<Build>, host: string): Pick<DockerfileRequest, 'limits' | 'confined'> {
  const { app, memoryMb, diskMb } = build.spec;
  const own = `${host}/${appRepository(app)}`;
  return {
    limits: {
      memoryBytes: memoryMb * 1024 ** 2,
      diskBytes: diskMb * 1024 ** 2,
      cpuMillis: buildCpuMillis(),
      pids: BUILD_PIDS,
    },
    confined: { cacheScope: app, refused: [`${host}/cf/`], allowed: [`${own}:`, `${own}@`] },
  };
}

/** A token is none that Docker's own clients build with. */
function isPassword(entry: [string, RegistryLogin]): entry is [string, Exclude<RegistryLogin, { token: string }>] {
  return 'password' in entry[1];
}

/** As they are given to buildpacks: those of all builds, then the app's own. */
function plain(variables: readonly Record<string, string>[]): Record<string, string> {
  return Object.fromEntries(
    variables
      .flatMap((each) => Object.entries(each))
      .map(([name, value]) => [name, Buffer.from(value, 'base64').toString('utf8')]),
  );
}

function ownArguments(host: string, builder: Builder): Record<string, string> {
  return { SAMPAN_REGISTRY: host, SAMPAN_STACK: stackReference(host, builder) };
}

function stackReference(host: string, { base }: Builder): string {
  return `${host}/${STACK_REPOSITORY}:${base.recipe}`;
}

/** Of the container that runs, as the engine knows it. */
function containerId(pod: Stored<Pod> | undefined): string | undefined {
  const status = pod?.status?.containerStatuses?.find(({ name }) => name === BUILD_CONTAINER);
  return status?.state?.running === undefined ? undefined : status.containerID?.replace(/^[a-z]+:\/\//, '');
}

async function inTime(
  build: Stored<Build>,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const deadline = AbortSignal.timeout(build.spec.timeoutSeconds * 1000);
  try {
    await work(AbortSignal.any([outer, deadline]));
  } catch (error) {
    outer.throwIfAborted();
    if (!deadline.aborted) throw error;
    throw new StagingError('timed-out', `the build took more than ${build.spec.timeoutSeconds} s and was stopped`);
  }
}

/** Makes the droplet of what was pushed. */
async function keep(
  { client, registry, say }: BuildContext,
  build: Stored<Build>,
  { repository, tag }: { repository: string; tag: string },
): Promise<string> {
  const { app } = build.spec;
  const image = await registry.getImage<ImageConfigFile>(repository, tag);
  if (image === undefined) throw new StagingError('registry', `the image that was built is not in ${repository}`);
  const run = image.config.config;
  if ([...(run.Entrypoint ?? []), ...(run.Cmd ?? [])].length === 0) await requireCommand(client, build);
  if (run.Healthcheck !== undefined)
    say(app, '       HEALTHCHECK is not used: health checks are those of the app (cf set-health-check)');
  const guid = dropletGuid(build);
  await storeDroplet(client, build, guid, {
    spec: {
      app,
      package: build.spec.package,
      build: build.metadata.name,
      image: registry.reference(repository, image.digest),
      ...imageFacts(run),
      lifecycle: 'buildpack',
      ownEntryPoint: true,
      buildpacks: [{ name: DOCKERFILE_BUILDPACK, version: '', detectOutput: 'Dockerfile' }],
    },
    status: {
      state: 'STAGED',
      checksum: image.digest,
      sizeBytes: image.manifest.layers.reduce((sum, { size }) => sum + size, 0),
    },
  });
  return guid;
}
