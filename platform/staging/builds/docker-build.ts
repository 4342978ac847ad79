/** "Staging" of a Docker image: nothing is built, its configuration is read where the image is in our own registry. */
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type Build, packages } from '../../resources/types.ts';
import type { ImageConfigFile } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { StagingError } from '../staging.ts';
import { dropletGuid, storeDroplet } from './run-build.ts';

export async function dockerBuild(client: Client, registry: RegistryClient, build: Stored<Build>): Promise<string> {
  const item = await client.get(packages, build.spec.package, build.metadata.namespace);
  const image = item.spec.image;
  if (image === undefined) throw new StagingError('internal', `package ${build.spec.package} names no image`);
  requireOpen(registry, image, build.spec.app);
  const own = await inspect(registry, image);
  const guid = dropletGuid(build);
  const run = own?.config.config ?? {};
  const ports = Object.keys(run.ExposedPorts ?? {}).flatMap((port) =>
    /^\d+(\/tcp)?$/.test(port) ? [Number.parseInt(port, 10)] : [],
  );
  await storeDroplet(client, build, guid, {
    spec: {
      app: build.spec.app,
      package: build.spec.package,
      build: build.metadata.name,
      image: own?.pinned ?? image,
      processTypes: { web: [...(run.Entrypoint ?? []), ...(run.Cmd ?? [])].join(' ') },
      lifecycle: 'docker',
      buildpacks: [],
      ports,
      ...(item.spec.docker?.passwordSecret === undefined ? {} : { pullSecret: item.spec.docker.passwordSecret }),
      ...(run.User === undefined || run.User === '' ? {} : { user: run.User }),
    },
    status: { state: 'STAGED' },
  });
  return guid;
}

/** The node pulls with the platform's own login: it must not be lent to who names the image of somebody else's app. */
function requireOpen(registry: RegistryClient, image: string, app: string): void {
  const apps = `${registry.host}/cf/`;
  if (!image.startsWith(apps) || [':', '@'].some((mark) => image.startsWith(`${apps}${app}${mark}`))) return;
  throw new StagingError('internal', `image ${image} belongs to another app of the platform: copy its droplet instead`);
}

async function inspect(
  registry: RegistryClient,
  image: string,
): Promise<{ pinned: string; config: ImageConfigFile } | undefined> {
  if (!image.startsWith(`${registry.host}/`)) return undefined;
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
    throw new StagingError('internal', `image ${image} is not in the registry: push it, or correct its name`);
  return { pinned: registry.reference(repository, found.digest), config: found.config };
}
