/**
 * When a build need not be done: the last one of the app left the source as it was, and nothing that it looked at has
 * changed since. It would end as it did, so its result is taken, for the new source.
 *
 * What a build looks at is known by the kernel's word on which files it opened. For the rest (which files there are, their
 * kinds, rights and links: the package's `shape`) nothing may differ, and neither may builder, buildpacks and variables. A
 * package that is built again (`cf restage`) is built, as is whatever is fetched anew each time, and once an hour what is
 * looked up elsewhere.
 */
import { createHash } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../../resources/kubernetes.ts';
import type { Build } from '../../resources/types.ts';
import type { IndexEntry } from '../bits/package-image.ts';
import type { Builder } from '../builder/builder.ts';
import type { Layer } from '../images/oci.ts';
import type { BuildResult, WantedBuildpacks } from '../lifecycle/protocol.ts';

export interface Reuse {
  /** Of everything but the source. */
  key: string;
  /** Guid. */
  package: string;
  shape: string;
  /** sha1 of the files that were opened, by path. */
  opened: Record<string, string>;
  /** Of the build that was done, milliseconds since the epoch. */
  at: number;
  result: BuildResult;
}

export interface ReuseFacts {
  key: string | undefined;
  package: string;
  shape: string | undefined;
  index: () => Promise<readonly IndexEntry[]>;
  now: number;
}

const KEPT_MILLISECONDS = 3_600_000;

/** The variables of the build, as they are given to buildpacks. */
export function readVariables(client: Client, build: Stored<Build>): Promise<Record<string, string>[]> {
  const namespace = build.metadata.namespace ?? '';
  const names = [`env-staging-${build.metadata.name}`, `env-${build.spec.app}`];
  return Promise.all(names.map((name) => secretData(client, name, namespace)));
}

/** Undefined where the build fetches what may be another thing each time. */
export function reuseKey(facts: {
  builder: Builder;
  wanted: WantedBuildpacks;
  uploaded: readonly Layer[];
  environment: Record<string, string>;
  variables: readonly Record<string, string>[];
}): string | undefined {
  const { builder, wanted, uploaded, environment, variables } = facts;
  if (wanted.groups.flat().some((entry) => 'url' in entry)) return undefined;
  const all = [
    builder.hash,
    builder.stack.digest,
    wanted,
    uploaded.map(({ digest }) => digest),
    environment,
    variables,
  ];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}

/** The result that the build would have. */
export async function reusable(last: Reuse | undefined, facts: ReuseFacts): Promise<BuildResult | undefined> {
  if (last === undefined || facts.key !== last.key || facts.shape !== last.shape) return undefined;
  if (facts.package === last.package || facts.now < last.at || facts.now > last.at + KEPT_MILLISECONDS)
    return undefined;
  const index = new Map((await facts.index()).map(({ path, sha1 }) => [path, sha1]));
  return Object.entries(last.opened).every(([path, sha1]) => index.get(path) === sha1) ? last.result : undefined;
}

/** What the next build may take of this one. */
export async function reuseOf(
  result: BuildResult,
  facts: ReuseFacts & { before: Reuse | undefined },
): Promise<Reuse | undefined> {
  const { key, shape, before } = facts;
  if (result === before?.result) return { ...before, package: facts.package };
  const { opened, ...kept } = result;
  if (key === undefined || shape === undefined || opened === undefined || !result.workspaceUnchanged) return undefined;
  const index = new Map((await facts.index()).map(({ path, sha1 }) => [path, sha1]));
  const read = opened.flatMap((path) => {
    const sha1 = index.get(path);
    return sha1 === undefined ? [] : [[path, sha1] as const];
  });
  const buildpacks = kept.buildpacks.map((buildpack) => ({
    ...buildpack,
    layers: buildpack.layers.map((layer) => ({
      ...layer,
      content: layer.content === 'absent' ? ('absent' as const) : ('kept' as const),
    })),
  }));
  const opens = Object.fromEntries(read);
  return { key, shape, package: facts.package, opened: opens, at: facts.now, result: { ...kept, buildpacks } };
}

async function secretData(client: Client, name: string, namespace: string): Promise<Record<string, string>> {
  return (await orUndefined(client.get(secrets, name, namespace)))?.data ?? {};
}
