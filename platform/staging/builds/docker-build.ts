/**
 * "Staging" of a Docker image: nothing is built. Its configuration is read where it can be: ports, user, command, and the
 * digest that its tag means now, so that all instances run the same. What its registry says is not to be had fails here.
 */
import type { Client } from '#cluster/client/client.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { readLogins, type RegistryLogin } from '../../resources/registry-logins.ts';
import { type Build, type Droplet, type Package, packages } from '../../resources/types.ts';
import type { ImageConfigFile, RunConfig } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { readRemoteImage } from '../images/remote-image.ts';
import { StagingError } from '../staging.ts';
import { dropletGuid, storeDroplet } from './run-build.ts';

export interface DockerBuildContext {
  client: Client;
  registry: RegistryClient;
  guard: AddressGuard;
}

export async function dockerBuild(
  context: DockerBuildContext,
  build: Stored<Build>,
  signal: AbortSignal,
): Promise<string> {
  const { client, registry } = context;
  const item = await client.get(packages, build.spec.package, build.metadata.namespace);
  const image = item.spec.image;
  if (image === undefined) throw new StagingError('internal', `package ${build.spec.package} names no image`);
  requireOpen(registry, image, build.spec.app);
  const known = image.startsWith(`${registry.host}/`)
    ? await inspect(registry, image)
    : await readRemoteImage({ image, guard: context.guard, signal, ...(await loginOf(client, item)) });
  const guid = dropletGuid(build);
  await storeDroplet(client, build, guid, {
    spec: {
      app: build.spec.app,
      package: build.spec.package,
      build: build.metadata.name,
      image: known?.pinned ?? image,
      ...imageFacts(known?.config.config ?? {}),
      lifecycle: 'docker',
      buildpacks: [],
      ...(item.spec.docker?.passwordSecret === undefined ? {} : { pullSecret: item.spec.docker.passwordSecret }),
    },
    status: { state: 'STAGED' },
  });
  return guid;
}

/** What an image's configuration says of how it is started. */
export function imageFacts(run: RunConfig): Pick<Droplet['spec'], 'processTypes' | 'ports' | 'user'> {
  const ports = Object.keys(run.ExposedPorts ?? {}).flatMap((port) =>
    /^\d+(\/tcp)?$/.test(port) ? [Number.parseInt(port, 10)] : [],
  );
  return {
    processTypes: { web: [...(run.Entrypoint ?? []), ...(run.Cmd ?? [])].join(' ') },
    ports,
    ...(run.User === undefined || run.User === '' ? {} : { user: run.User }),
  };
}

/** As it was written for the nodes. */
async function loginOf(client: Client, item: Stored<Package>): Promise<{ login?: RegistryLogin }> {
  const name = item.spec.docker?.passwordSecret;
  if (name === undefined) return {};
  const [login] = Object.values(await readLogins(client, name, item.metadata.namespace ?? ''));
  return login === undefined ? {} : { login };
}

/** The node pulls with the platform's own login: it must not be lent to who names the image of somebody else's app. */
function requireOpen(registry: RegistryClient, image: string, app: string): void {
  const apps = `${registry.host}/cf/`;
  if (!image.startsWith(apps) || [':', '@'].some((mark) => image.startsWith(`${apps}${app}${mark}`))) return;
  throw new StagingError('no-image', `image ${image} belongs to another app of the platform: copy its droplet instead`);
}

async function inspect(registry: RegistryClient, image: string): Promise<{ pinned: string; config: ImageConfigFile }> {
  const rest = image.slice(registry.host.length + 1);
  const at = rest.indexOf('@');
  const colon = rest.lastIndexOf(':');
  const [repository, reference] =
    at > 0
      ? [rest.slice(0, at).replace(/:[^:/]*$/, ''), rest.slice(at + 1)]
      : colon > 0
        ? [rest.slice(0, colon), rest.slice(colon + 1)]
        : [rest, 'latest'];
  const found = await registry.getImage<ImageConfigFile>(repository, reference);
  if (found === undefined)
    throw new StagingError('no-image', `image ${image} is not in the registry: push it, or correct its name`);
  return { pinned: registry.reference(repository, found.digest), config: found.config };
}
