/** One build by a builder image of Cloud Native Buildpacks, from package to droplet: its buildpacks, by our lifecycle. */
import { loginsOf } from './app-logins.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { pods } from '../../resources/kubernetes.ts';
import type { Build } from '../../resources/types.ts';
import { appRepository } from '../bits/package-image.ts';
import { buildImageLayers, builderCommand } from '../builder/builder-build-image.ts';
import { builderEnvironment, type BuilderImage, builderRunImage, openBuilderImage } from '../builder/builder-image.ts';
import { toolCommand } from '../builder/builder-tools.ts';
import { parseBuildResult } from '../export/build-result.ts';
import { readPrevious } from '../export/previous.ts';
import { writeImage } from '../images/single-layer.ts';
import { StagingError } from '../staging.ts';
import { buildPod, builderVariables } from './build-pod.ts';
import { readDirectory, readFile } from './container-tar.ts';
import { deletePod, untilPod } from './pod-changes.ts';
import { type BuildContext, buildInPod, isGone, keep, podOf, RESULT_FILE } from './run-build.ts';
import { sourcePackage } from './source-package.ts';

/** Returns the droplet's guid. */
export async function builderBuild(
  context: BuildContext,
  build: Stored<Build>,
  name: string,
  outer: AbortSignal,
): Promise<string> {
  const { client, registry, guard } = context;
  const repository = appRepository(build.spec.app);
  const pod = podOf(build);
  const tag = `build-${build.metadata.name}`;
  const work = new AbortController();
  const signal = AbortSignal.any([outer, work.signal]);
  const access = { logins: await loginsOf(client, build), repository };
  const onProgress = (message: string) => context.say(build.spec.app, `-----> ${message}`);
  const [own, opened, source] = await Promise.all([
    context.builder(),
    openBuilderImage({ registry, guard, access, onProgress, signal: outer }, name),
    sourcePackage(context, build, repository),
    // A platform that was killed may have left one.
    deletePod(client, pod),
  ]);
  // Buildpacks judge by themselves what of a layer is still right; another builder would not know whose it is.
  const previous = await readPrevious(registry, repository, `builder ${name} ${opened.runName}`);
  await untilPod(context.pods, pod, isGone, outer);
  try {
    const layers = await buildImageLayers({
      registry,
      repository,
      own,
      opened,
      previous,
      source: source.layer,
      signal,
    });
    const digest = await writeImage(registry, repository, tag, {
      architecture: own.architecture,
      layers,
      run: { ...runOf(opened), Entrypoint: builderCommand(own) },
      signal,
    });
    const image = registry.reference(repository, digest);
    await client.create(pods, buildPod({ build, image, env: builderVariables(context.environment) }));
    const said = await buildInPod(context, build, pod, signal);
    const reading = { client, pod, tool: (program: string) => toolCommand(own, program) };
    const result = parseBuildResult(said ?? (await readFile(reading, RESULT_FILE, signal)));
    const facts = { ...source, key: undefined, package: build.spec.package, now: Date.now() };
    return await keep(
      context,
      build,
      { repository, previous, source: source.layer, facts },
      {
        result: { ...result, runtimes: [] },
        run: builderRunImage(opened, own.architecture),
        seeds: [],
        readDirectory: (path) => readDirectory(reading, path, signal),
        signal,
      },
    );
  } catch (error) {
    if (!(error instanceof StagingError && error.code === 'no-app-detected')) throw error;
    throw new StagingError('no-app-detected', `no buildpack of the builder ${name} fits the source`, { cause: error });
  } finally {
    work.abort();
    await Promise.all([deletePod(client, pod), registry.deleteManifest(repository, tag)]);
  }
}

function runOf(opened: BuilderImage): { User: string; WorkingDir: string; Env: string[] } {
  return { User: '1000:1000', WorkingDir: '/workspace', Env: builderEnvironment(opened) };
}
