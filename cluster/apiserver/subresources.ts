/** The subresources that are more than a part of their object: scale and binding. */
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { parseJsonPath } from '../kinds/json-path.ts';
import { pods } from '../kinds/resources.ts';
import type { Scale } from '../kinds/types/autoscaling.ts';
import type { Binding, Pod } from '../kinds/types/core.ts';
import { admitSent } from './admission/sent.ts';
import { readWriteOptions, type WriteOptions } from './admit.ts';
import { kindPrefix, objectKey, objectOf } from './cache.ts';
import { keptIn } from './conversion.ts';
import type { Core } from './core.ts';
import { timestamp } from './timestamp.ts';
import { badRequest, conflict, invalidObject, methodNotAllowed, noSuchPath, notFound } from './errors.ts';
import { type Exchange, sendJson, success } from './exchange.ts';
import { readDecoded, readObject } from './read-body.ts';
import { readPatch } from './patch.ts';
import type { ResourceRequest } from './route.ts';
import { storageKind } from './stored-form.ts';
import { changeObject } from './update.ts';

export async function scale(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  request: ResourceRequest,
): Promise<void> {
  // What is kept is of the storage version, and so are the paths in it.
  const stored = storageKind(core, kind);
  const paths = stored.subresources.scale;
  if (paths === undefined || kind.subresources.scale === undefined) throw noSuchPath();
  const cached = core.cache.resource(kindPrefix(kind)).objects.get(objectKey(kind, request.namespace, request.name));
  if (cached === undefined) throw notFound(kind, request.name);
  if (request.verb === 'get')
    return sendJson(exchange, 200, scaleOf(stored, await keptIn(core, stored, objectOf(cached))));
  if (request.verb !== 'update' && request.verb !== 'patch') throw methodNotAllowed();
  const options = readWriteOptions(exchange, request.verb === 'patch' ? 'PatchOptions' : 'UpdateOptions');
  const patcher = request.verb === 'patch' ? await readPatch(exchange, undefined) : undefined;
  const sent = patcher === undefined ? ((await readObject(exchange)) as unknown as Scale) : undefined;
  const bytes = await changeObject(core, stored, request, options, {
    part: '',
    trackedAs: 'scale',
    admitted: true,
    change: async (current) => {
      const wanted = sent ?? ((await patcher?.(scaleOf(stored, current) as unknown as ApiObject)) as unknown as Scale);
      const replicas = wanted.spec?.replicas ?? 0;
      if (!Number.isSafeInteger(replicas) || replicas < 0)
        throw invalidObject({ group: 'autoscaling', kind: 'Scale' }, request.name, [
          {
            reason: 'FieldValueInvalid',
            field: 'spec.replicas',
            message: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
          },
        ]);
      const admitted = await admitScale(core, { kind, stored, request, options }, current, wanted);
      setAt(current, paths.specReplicas, admitted.spec?.replicas ?? 0);
      delete current.metadata.resourceVersion;
      if (wanted.metadata?.resourceVersion) current.metadata.resourceVersion = wanted.metadata.resourceVersion;
      return current;
    },
  });
  sendJson(exchange, 200, scaleOf(stored, JSON.parse(bytes.toString()) as ApiObject));
}

interface ScaleRequest {
  kind: KindDefinition;
  stored: KindDefinition;
  request: ResourceRequest;
  options: WriteOptions;
}

function admitScale(
  core: Core,
  { kind, stored, request: { namespace, name }, options }: ScaleRequest,
  current: ApiObject,
  wanted: Scale,
): Promise<Scale> {
  const old = scaleOf(stored, current) as ApiObject;
  return admitSent(core, { kind, namespace, name, subresource: 'scale', old }, wanted, options);
}

function scaleOf(kind: KindDefinition, object: ApiObject): Scale {
  const paths = kind.subresources.scale;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const numberAt = (path: string) => Number(parseJsonPath(path)?.(object)[0] ?? 0);
  const selector = paths?.selector(object) ?? '';
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: JSON.parse(
      JSON.stringify({ name, namespace, uid, resourceVersion, creationTimestamp }),
    ) as Scale['metadata'],
    spec: { replicas: numberAt(paths?.specReplicas ?? '') },
    status: { replicas: numberAt(paths?.statusReplicas ?? ''), ...(selector === '' ? {} : { selector }) },
  };
}

/** A simple dotted path, which is all that a scale path may be. */
function setAt(object: ApiObject, path: string, value: unknown): void {
  const keys = path.replace(/^\./, '').split('.');
  let at = object as unknown as Record<string, unknown>;
  for (const key of keys.slice(0, -1)) {
    if (typeof at[key] !== 'object' || at[key] === null || !Object.hasOwn(at, key)) at[key] = {};
    at = at[key] as Record<string, unknown>;
  }
  at[keys.at(-1) ?? ''] = value;
}

/** `pods/binding`, and `bindings`, which name the pod in their body. */
export async function bind(core: Core, exchange: Exchange, request: ResourceRequest): Promise<void> {
  if (request.verb !== 'create') throw methodNotAllowed();
  const options = readWriteOptions(exchange, 'CreateOptions');
  const body = (await readDecoded(exchange, 'io.k8s.api.core.v1.Binding')) as Partial<Binding>;
  const name = request.name || body.metadata?.name || '';
  const { namespace } = request;
  const kind = podKind(core);
  const binding = await admitSent(core, { kind, namespace, name, subresource: 'binding' }, body, options);
  const { kind: targetKind = 'Node', name: node = '' } = binding.target ?? {};
  if (targetKind !== 'Node' || node === '')
    throw badRequest('a binding needs target.name, the name of a node, and target.kind "Node"');
  await changeObject(core, kind, { namespace, name }, options, {
    part: '',
    tracked: true,
    change: (current) => bound(current as Pod, node, binding.metadata, core.now()),
    unchecked: true,
  });
  sendJson(exchange, 201, success());
}

const PRECONDITIONS = [
  ['uid', 'UID'],
  ['resourceVersion', 'ResourceVersion'],
] as const;

function bound(pod: Pod, node: string, wanted: Binding['metadata'], now: number): ApiObject {
  const name = pod.metadata.name ?? '';
  for (const [field, what] of PRECONDITIONS) {
    const [expected, found] = [wanted[field], pod.metadata[field]];
    if (expected && expected !== found)
      throw conflict(
        pods,
        name,
        `Precondition failed: ${what} in precondition: ${expected}, ${what} in object meta: ${found}`,
      );
  }
  if (pod.metadata.deletionTimestamp !== undefined)
    throw conflict(pods, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  if (pod.spec?.nodeName) throw conflict(pods, name, `pod ${name} is already assigned to node "${pod.spec.nodeName}"`);
  if ((pod.spec?.schedulingGates ?? []).length > 0)
    throw conflict(pods, name, `pod ${name} has non-empty .spec.schedulingGates`);
  pod.spec = { ...(pod.spec ?? { containers: [] }), nodeName: node };
  if (wanted.annotations !== undefined)
    pod.metadata.annotations = { ...pod.metadata.annotations, ...wanted.annotations };
  const conditions = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
  conditions.push({ type: 'PodScheduled', status: 'True', lastTransitionTime: timestamp(now) });
  pod.status = { ...pod.status, conditions };
  delete pod.metadata.resourceVersion;
  return pod as ApiObject;
}

function podKind(core: Core): KindDefinition {
  const kind = core.registry.find('', 'v1', 'pods');
  if (kind === undefined) throw noSuchPath();
  return kind;
}
