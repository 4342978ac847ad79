/** A build of source: by buildpacks, by its Dockerfile, or by a builder image. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Build } from '../../resources/types.ts';
import type { BuildChoice } from '../buildpack-names.ts';
import { StagingError } from '../staging.ts';
import { builderBuild } from './builder-build.ts';
import { type DockerfileContext, dockerfileBuild, hasFile } from './dockerfile-build.ts';
import { runBuild } from './run-build.ts';

/** Returns the droplet's guid. */
export async function sourceBuild(
  context: DockerfileContext,
  build: Stored<Build>,
  { wanted, dockerfile, builder }: BuildChoice,
  signal: AbortSignal,
): Promise<string> {
  if (builder !== undefined) return await builderBuild(context, build, builder, signal);
  if (dockerfile === undefined) return await runBuild(context, build, wanted, signal);
  const byDockerfile = async () => await dockerfileBuild(context, build, dockerfile.path, signal);
  if (wanted.chosen) return await byDockerfile();
  const [first, others] = [wanted.groups.slice(0, dockerfile.after), wanted.groups.slice(dockerfile.after)];
  const refusal = first.length === 0 ? undefined : await built(context, build, { ...wanted, groups: first }, signal);
  if (typeof refusal === 'string') return refusal;
  // Looked for only now: most source has a buildpack, and is spared the question.
  if (await hasFile(context, build, dockerfile.path)) return await byDockerfile();
  if (others.length > 0) return await runBuild(context, build, { chosen: false, groups: others }, signal);
  throw refusal ?? new StagingError('no-app-detected', 'there are no buildpacks, and the source has no Dockerfile');
}

/** The droplet, or the word that nothing fits. */
async function built(...work: Parameters<typeof runBuild>): Promise<string | StagingError> {
  try {
    return await runBuild(...work);
  } catch (error) {
    if (error instanceof StagingError && error.code === 'no-app-detected') return error;
    throw error;
  }
}
