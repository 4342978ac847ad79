/**
 * metrics.k8s.io: the usage of nodes and pods as NodeMetrics and PodMetrics, one by one and as lists. A pod's usage is taken
 * from the node that it is bound to and from no other, so that a node cannot speak for another's pods.
 */
import { formatAmount } from '../../kinds/amount.ts';
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import { nodes, pods } from '../../kinds/resources.ts';
import type { NodeMetrics, PodMetrics, ResourceUsage } from '../../kinds/types/metrics.ts';
import { type CachedObject, kindPrefix } from '../cache.ts';
import type { Core } from '../core.ts';
import { notFound } from '../errors.ts';
import { type Exchange, sendJson } from '../exchange.ts';
import { readIncludeObject } from '../list.ts';
import { negotiate, type View } from '../negotiate.ts';
import { apiVersionOf } from '../registry.ts';
import type { ResourceRequest } from '../route.ts';
import { readSelection } from '../selection.ts';
import { timestamp } from '../timestamp.ts';
import { partialMetadata, table, tableRow } from '../views.ts';
import type { NodeUsage, Reading } from './usage.ts';

export async function showUsage(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  { namespace, name, verb }: ResourceRequest,
): Promise<void> {
  const view = negotiate(exchange, kind, verb === 'list');
  const of = core.cache.resource(kindPrefix(kind.namespaced ? pods : nodes));
  if (verb === 'get') {
    const key = namespace === '' ? name : `${namespace}/${name}`;
    const found = of.objects.get(of.prefix + key);
    const known = found && metricsOf(core, kind, found, await core.usage.read());
    // Upstream's words.
    if (known === undefined) throw notFound({ group: kind.group, resource: kind.kind.toLowerCase() }, key);
    return sendJson(exchange, 200, viewOne(core, exchange, kind, known, view));
  }
  const selection = readSelection(kind, namespace, '', exchange.query);
  const usage = await core.usage.read();
  const items: ApiObject[] = [];
  for (const object of of.list(namespace)) {
    const known = selection.matches(object) ? metricsOf(core, kind, object, usage) : undefined;
    if (known !== undefined) items.push(known);
  }
  sendJson(exchange, 200, viewList(core, exchange, kind, items, view));
}

function metricsOf(
  core: Core,
  kind: KindDefinition,
  object: CachedObject,
  usage: ReadonlyMap<string, NodeUsage>,
): ApiObject | undefined {
  const { name, namespace, labels, fields } = object;
  const common = {
    kind: kind.kind,
    apiVersion: apiVersionOf(kind),
    metadata: {
      name,
      ...(kind.namespaced && { namespace }),
      creationTimestamp: timestamp(core.now()),
      ...(labels && { labels }),
    },
  };
  if (!kind.namespaced) {
    const reading = usage.get(name)?.node;
    if (reading === undefined) return undefined;
    return { ...common, ...span([reading]), usage: amounts(reading) } satisfies NodeMetrics & ApiObject;
  }
  const readings = usage.get(fields['spec.nodeName'] ?? '')?.pods.get(`${namespace}/${name}`);
  if (readings === undefined || fields['status.phase'] !== 'Running') return undefined;
  return {
    ...common,
    ...span([...readings.values()]),
    containers: Array.from(readings, ([container, reading]) => ({ name: container, usage: amounts(reading) })),
  } satisfies PodMetrics & ApiObject;
}

/** Of the container that was looked at first, as metrics-server has it. */
function span(readings: Reading[]): { timestamp: string; window: string } {
  const earliest = readings.reduce((first, one) => (one.at < first.at ? one : first));
  return { timestamp: timestamp(earliest.at), window: goDuration(earliest.window) };
}

function amounts({ nanoCores, workingSetBytes }: Reading): ResourceUsage {
  return {
    cpu: formatAmount({ nano: BigInt(nanoCores), binary: false }),
    memory: formatAmount({ nano: BigInt(workingSetBytes) * 1_000_000_000n, binary: true }),
  };
}

function goDuration(milliseconds: number): string {
  const minutes = Math.floor(milliseconds / 60_000);
  return `${minutes === 0 ? '' : `${minutes}m`}${(milliseconds % 60_000) / 1_000}s`;
}

function viewOne(core: Core, exchange: Exchange, kind: KindDefinition, object: ApiObject, view: View): object {
  if (view.as === 'object') return object;
  if (view.as === 'metadata') return partialMetadata(object, view.apiVersion);
  return tableOf(core, exchange, kind, [object], view.apiVersion);
}

function viewList(core: Core, exchange: Exchange, kind: KindDefinition, items: ApiObject[], view: View): object {
  if (view.as === 'object') return { kind: kind.listKind, apiVersion: apiVersionOf(kind), metadata: {}, items };
  if (view.as === 'table') return tableOf(core, exchange, kind, items, view.apiVersion);
  const { apiVersion } = view;
  const parts = items.map((object) => partialMetadata(object, apiVersion));
  return { kind: 'PartialObjectMetadataList', apiVersion, metadata: {}, items: parts };
}

function tableOf(
  core: Core,
  exchange: Exchange,
  kind: KindDefinition,
  objects: ApiObject[],
  apiVersion: string,
): object {
  const options = { apiVersion, includeObject: readIncludeObject(exchange.query) };
  const rows = objects.map((object) => tableRow(kind, object, options, core.now()));
  return table(kind, rows, {}, apiVersion);
}
