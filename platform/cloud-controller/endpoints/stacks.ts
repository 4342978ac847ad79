/** Stacks: the platform brings its own, and keeps what people write on it and how far it may be used. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { CatalogEntry } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notFound } from '../errors.ts';
import { listReply } from '../listing.ts';
import { STACK_STATES, stackGuid, stackState } from '../operations/stack-state.ts';
import { tell } from '../operations/tell.ts';
import { uploadProblem } from '../operations/upload.ts';
import { link } from '../present/base.ts';
import { mergeMetadata, Reader } from '../validate.ts';

/** When the platform was made: what it brings itself is as old. */
export const EPOCH = '2026-01-01T00:00:00Z';

export interface StackItem extends Json {
  guid: string;
  name: string;
}

/** As lists take them. */
type Listed = ClientObject & { spec: StackItem };

/** @throws CloudFoundryError where there is none of the guid */
export function findStack(context: Context, guid: string | undefined): StackItem {
  const found = stack(context);
  if (found.guid !== guid) throw notFound('Stack');
  return found;
}

function stack(context: Context): StackItem {
  const name = context.defaults.stack;
  const guid = stackGuid(name);
  const { state, reason } = stackState(context);
  const { labels = {}, annotations = {} } = context.records.catalogEntries.get(guid)?.spec.userMetadata ?? {};
  return {
    guid,
    created_at: EPOCH,
    updated_at: EPOCH,
    name,
    description: 'Debian, made from its packages',
    build_rootfs_image: name,
    run_rootfs_image: name,
    default: true,
    state,
    state_reason: reason ?? null,
    metadata: { labels, annotations },
    links: { self: link(`${context.urls.api}/v3/stacks/${guid}`) },
  };
}

export function stackEndpoints(context: Context): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v3/stacks',
      auth: 'user',
      summary: 'List stacks.',
      handle: (request) =>
        listReply<Listed>(context, request, {
          items: [listed(stack(context))],
          present: ({ spec }) => spec,
          filters: {
            names: ({ spec }, values) => values.includes(spec.name),
            default: ({ spec }, values) => values.includes(String(spec.default)),
          },
          orders: { name: ({ spec }) => spec.name },
          userLabels: ({ spec }) => (spec.metadata as { labels: Record<string, string> }).labels,
        }),
    },
    {
      method: 'GET',
      path: '/v3/stacks/:guid',
      auth: 'user',
      summary: 'Get a stack.',
      handle: (request) => ok(findStack(context, request.params.guid)),
    },
    {
      method: 'PATCH',
      path: '/v3/stacks/:guid',
      auth: 'admin',
      summary: 'Say how far a stack may be used, and change its metadata.',
      handle: async (request) => {
        const { guid } = findStack(context, request.params.guid);
        const change = readChange(request);
        const { catalogEntries } = context.records;
        if (catalogEntries.get(guid)) {
          await catalogEntries.modify(guid, (current) => ({ ...current, spec: change(current.spec) }));
        } else await catalogEntries.create({ metadata: { name: guid }, spec: change({}) });
        const changed = findStack(context, guid);
        const object = { ...listed(changed), spec: { displayName: changed.name } };
        await tell(context, request, { type: 'audit.stack.update', kind: 'stack', object });
        return ok(changed);
      },
    },
    {
      method: 'POST',
      path: '/v3/stacks/:guid/actions/update',
      auth: 'admin',
      summary: "Make the stack anew of the packages that there are now. Ours, not Cloud Foundry's.",
      handle: async (request) => {
        const found = findStack(context, request.params.guid);
        const object = { ...listed(found), spec: { displayName: found.name } };
        await tell(context, request, { type: 'audit.stack.update', kind: 'stack', object });
        const work = async () => {
          await context.staging.updateStack().catch((error: unknown) => {
            throw uploadProblem(error);
          });
        };
        return accepted(context, context.jobs.start('stack.update', work));
      },
    },
  ];
}

const LONGEST_REASON = 1000;

function readChange(request: ApiRequest): (old: CatalogEntry['spec']) => CatalogEntry['spec'] {
  const reader = new Reader(request.body).only('metadata', 'state', 'state_reason');
  const metadata = reader.metadata();
  const state = STACK_STATES.find((one) => one === request.body.state);
  if (reader.has('state') && !state) reader.fail(`State must be one of ${STACK_STATES.join(', ')}`);
  const reason = reader.nullableString('state_reason');
  if ((reason?.length ?? 0) > LONGEST_REASON) {
    reader.fail(`State reason is too long (maximum is ${LONGEST_REASON} characters)`);
  }
  reader.done();
  return ({ stateReason, ...old }) => {
    const why = reason === undefined ? stateReason : reason;
    return {
      ...old,
      userMetadata: mergeMetadata(old.userMetadata, metadata),
      ...(state && { state }),
      ...(why && { stateReason: why }),
    };
  };
}

function listed(spec: StackItem): Stored<Listed> {
  const metadata = { name: spec.guid, uid: spec.guid, resourceVersion: '0', creationTimestamp: EPOCH };
  return { metadata, spec };
}
