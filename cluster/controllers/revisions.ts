/**
 * The templates that a StatefulSet or DaemonSet had, as ControllerRevisions: what a pod of it was made from, and where
 * `kubectl rollout undo` goes back to. A revision's name comes from what it holds, so making one may be repeated.
 */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { controllerRevisions } from '../kinds/resources.ts';
import type { ControllerRevision } from '../kinds/types/apps.ts';
import type { Pod, PodTemplateSpec } from '../kinds/types/core.ts';
import type { LabelSelector } from '../kinds/types/meta.ts';
import { claim } from './claim.ts';
import { controllerOf, sameJson } from './objects.ts';
import { type PodOwner, referenceTo } from './pod-control.ts';
import { settledTemplate } from './settled-template.ts';
import { sorted, stableHash } from './stable-hash.ts';

/** On every pod of a set: which revision it is of. */
export const revisionLabel = 'controller-revision-hash';

export interface RevisionOptions {
  client: Client;
  informer: Informer<ControllerRevision>;
  owner: PodOwner;
  selector: LabelSelector | undefined;
  template: PodTemplateSpec;
  /** Under which label a revision says its hash. */
  hashLabel: string;
  collisions: number;
}

export interface Revisions {
  /** By revision, the oldest first. */
  all: Stored<ControllerRevision>[];
  /** That of the owner's own template. */
  update: Stored<ControllerRevision>;
  /** Raised where another object had the name. */
  collisions: number;
}

/**
 * As a patch of the owner: applying it goes back to the template. Clients in Go know the owner's own revision by the very bytes
 * that they make of its template: keys in order, and a time of creation, which a template has none of.
 */
function dataOf(template: PodTemplateSpec): Record<string, unknown> {
  const metadata = { creationTimestamp: null, ...template.metadata };
  return sorted({ spec: { template: { ...template, metadata, $patch: 'replace' } } }) as Record<string, unknown>;
}

export function templateOf({ data }: ControllerRevision): PodTemplateSpec {
  const { template } = (data as { spec: { template: PodTemplateSpec & { $patch?: string } } }).spec;
  const { $patch: _directive, metadata, ...rest } = template;
  const { creationTimestamp: _none, ...named } = metadata ?? {};
  return { ...rest, ...(metadata === undefined ? {} : { metadata: named }) };
}

function holds(revision: ControllerRevision, template: PodTemplateSpec): boolean {
  const { metadata = {}, ...rest } = settledTemplate(template);
  return sameJson({ metadata: {}, ...settledTemplate(templateOf(revision)) }, { metadata, ...rest });
}

export const hashOf = (revision: ControllerRevision, hashLabel: string): string =>
  revision.metadata.labels?.[hashLabel] ?? '';

async function createRevision(options: RevisionOptions, revision: number): Promise<Revisions['update'] | undefined> {
  const { client, owner, template, hashLabel, selector, collisions } = options;
  const data = dataOf(template);
  const hash = stableHash(data, collisions);
  const { name: ownerName, namespace = '', uid } = owner.metadata;
  const name = `${ownerName.slice(0, 223)}-${hash}`;
  try {
    return await client.create(controllerRevisions, {
      metadata: {
        name,
        namespace,
        labels: { ...template.metadata?.labels, ...selector?.matchLabels, [hashLabel]: hash },
        ownerReferences: [referenceTo(owner)],
      },
      data,
      revision,
    });
  } catch (error) {
    if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
    const there = await client.get(controllerRevisions, name, namespace);
    return controllerOf(there.metadata)?.uid === uid && holds(there, template) ? there : undefined;
  }
}

/** Finds the revision of the owner's template or makes it, and lets it be the newest. */
export async function syncRevisions(options: RevisionOptions): Promise<Revisions> {
  const { client, informer, owner, selector, template } = options;
  const claimed = await claim({ client, resource: controllerRevisions, objects: informer, owner, selector });
  const all = claimed.toSorted((a, b) => a.revision - b.revision);
  const found = all.findLast((one) => holds(one, template));
  const newest = all.at(-1);
  if (found && found === newest) return { all, update: found, collisions: options.collisions };
  const next = (newest?.revision ?? 0) + 1;
  if (found) {
    // The template is that of an earlier revision again, after an undo.
    const update = await client.update(controllerRevisions, { ...found, revision: next });
    return { all: [...all.filter((one) => one !== found), update], update, collisions: options.collisions };
  }
  for (let { collisions } = options; ; collisions++) {
    const update = await createRevision({ ...options, collisions }, next);
    if (update) return { all: [...all, update], update, collisions };
  }
}

/** Removes the oldest of the revisions that no pod has, down to the limit. `live` are kept whatever their age. */
export async function trimRevisions(
  client: Client,
  { all }: Revisions,
  live: (revision: Stored<ControllerRevision>) => boolean,
  limit: number,
): Promise<void> {
  const unused = all.filter((revision) => !live(revision));
  for (const { metadata } of unused.slice(0, Math.max(0, unused.length - limit))) {
    const { name, namespace = '', uid } = metadata;
    try {
      await client.delete(controllerRevisions, name, { namespace, preconditions: { uid } });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
    }
  }
}

export const revisionOfPod = ({ metadata }: Pod): string => metadata.labels?.[revisionLabel] ?? '';
