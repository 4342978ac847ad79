/** Makes a space and the namespace that it is. */
import { randomUUID } from 'node:crypto';
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { namespaces } from '../../resources/kubernetes.ts';
import { labels, type Organization, type Space, type UserMetadata } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { unprocessable } from '../errors.ts';
import { nameLabel } from './app-create.ts';

const MAX_SUFFIX = 10_000;

/** In this order: name, namespace's name, namespace, space. */
export async function createSpace(
  context: Context,
  input: { organization: Stored<Organization>; name: string; userMetadata?: UserMetadata },
): Promise<Stored<Space>> {
  const { organization, name } = input;
  const guid = randomUUID();
  const holder = { resource: 'spaces', name: guid };
  const key = [organization.metadata.name, name.toLowerCase()];
  if (!(await context.reservations.take('spacename', key, holder))) {
    throw unprocessable(`Space '${name}' already exists in the organization '${organization.spec.displayName}'.`);
  }
  let namespace: string | undefined;
  try {
    namespace = await createNamespace(context, { organization, name, guid });
    return await context.records.spaces.create({
      metadata: { name: guid, labels: { ...nameLabel(name), [labels.organization]: organization.metadata.name } },
      spec: {
        displayName: name,
        organization: organization.metadata.name,
        namespace,
        ...(input.userMetadata ? { userMetadata: input.userMetadata } : {}),
      },
    });
  } catch (error) {
    if (namespace !== undefined) {
      await context.client.delete(namespaces, namespace);
      await context.reservations.release('namespace', [namespace], holder);
    }
    await context.reservations.release('spacename', key, holder);
    throw error;
  }
}

/** `<org>-<space>`, with a number when another space or a stranger has that. */
async function createNamespace(
  context: Context,
  space: { organization: Stored<Organization>; name: string; guid: string },
): Promise<string> {
  const slug = namespaceSlug(space.organization.spec.displayName, space.name);
  const holder = { resource: 'spaces', name: space.guid };
  for (let suffix = 1; suffix < MAX_SUFFIX; suffix++) {
    const name = suffix === 1 ? slug : `${slug}-${suffix}`;
    if (!(await context.reservations.take('namespace', [name], holder))) continue;
    try {
      await context.client.create(namespaces, {
        metadata: {
          name,
          labels: {
            [labels.space]: space.guid,
            [labels.organization]: space.organization.metadata.name,
            'pod-security.kubernetes.io/enforce': 'restricted',
            'pod-security.kubernetes.io/enforce-version': 'latest',
          },
          annotations: {
            'platform.sampan.dev/organization-name': space.organization.spec.displayName,
            'platform.sampan.dev/space-name': space.name,
          },
        },
      });
      return name;
    } catch (error) {
      await context.reservations.release('namespace', [name], holder);
      if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    }
  }
  throw unprocessable(`No namespace is free for the space '${space.name}'. Choose another name.`);
}

export function namespaceSlug(organization: string, space: string): string {
  const part = (text: string, length: number) =>
    text
      .normalize('NFKD')
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .slice(0, length)
      .replaceAll(/^-+|-+$/g, '');
  const joined = [part(organization, 26), part(space, 26)].filter(Boolean).join('-');
  return joined === '' ? 'space' : joined;
}
