/** What a pod asks for and what a node has, as numbers: cpu in millicores, everything else in its base unit, rounded up. */
import { quantityValue } from '../kinds/quantity.ts';
import type { Container, Pod } from '../kinds/types/core.ts';

/** Every resource has a field or a name, so that the usual ones are added without a look-up. */
export interface Resources {
  cpu: number;
  memory: number;
  ephemeralStorage: number;
  /** Of a node: how many pods it takes. */
  pods: number;
  /** Extended resources and huge pages. */
  others: Map<string, number> | undefined;
}

/** For scoring only: what a container that names no request is taken to use. */
const assumed = { cpu: 100, memory: 200 * 1024 * 1024 };

/** A cluster has few different quantities, and a pod names several. */
const parsed = new Map<string, number>();
const parsedLimit = 4096;

function valueOf(quantity: string): number {
  let value = parsed.get(quantity);
  if (value === undefined) {
    value = quantityValue(quantity);
    if (Number.isNaN(value)) value = 0;
    if (parsed.size >= parsedLimit) parsed.clear();
    parsed.set(quantity, value);
  }
  return value;
}

export function noResources(): Resources {
  return { cpu: 0, memory: 0, ephemeralStorage: 0, pods: 0, others: undefined };
}

/** Binary fractions make `0.1 * 1000` a little more than 100. */
function roundUp(value: number): number {
  return Math.ceil(value - 1e-6);
}

export function parseResources(quantities: Record<string, string> | undefined): Resources {
  const resources = noResources();
  for (const name in quantities) {
    const value = valueOf(quantities[name] ?? '0');
    switch (name) {
      case 'cpu':
        resources.cpu = roundUp(value * 1000);
        break;
      case 'memory':
        resources.memory = roundUp(value);
        break;
      case 'ephemeral-storage':
        resources.ephemeralStorage = roundUp(value);
        break;
      case 'pods':
        resources.pods = roundUp(value);
        break;
      default:
        resources.others ??= new Map();
        resources.others.set(name, roundUp(value));
    }
  }
  return resources;
}

export function addResources(into: Resources, from: Resources, sign: 1 | -1 = 1): void {
  into.cpu += sign * from.cpu;
  into.memory += sign * from.memory;
  into.ephemeralStorage += sign * from.ephemeralStorage;
  if (from.others === undefined) return;
  into.others ??= new Map();
  for (const [name, value] of from.others) into.others.set(name, (into.others.get(name) ?? 0) + sign * value);
}

/** The same for the same amounts. */
export function resourcesText({ cpu, memory, ephemeralStorage, others }: Resources): string {
  const text = `${cpu}/${memory}/${ephemeralStorage}`;
  return others === undefined ? text : `${text}/${JSON.stringify([...others])}`;
}

function takeGreater(into: Resources, from: Resources): void {
  into.cpu = Math.max(into.cpu, from.cpu);
  into.memory = Math.max(into.memory, from.memory);
  into.ephemeralStorage = Math.max(into.ephemeralStorage, from.ephemeralStorage);
  for (const [name, value] of from.others ?? []) {
    into.others ??= new Map();
    into.others.set(name, Math.max(into.others.get(name) ?? 0, value));
  }
}

function requestsOf({ resources }: Container, assume: boolean): Resources {
  const requests = parseResources(
    resources?.limits ? { ...resources.limits, ...resources.requests } : resources?.requests,
  );
  if (assume) {
    if (resources?.requests?.['cpu'] === undefined && requests.cpu === 0) requests.cpu = assumed.cpu;
    if (resources?.requests?.['memory'] === undefined && requests.memory === 0) requests.memory = assumed.memory;
  }
  return requests;
}

/**
 * Kubernetes, "Sidecar Containers: Resource sharing": init containers run one after the other beside the sidecars
 * started before them, then all containers and sidecars together; the pod needs the greater of the two, and its overhead.
 * @param assume  for scoring: containers that name no cpu or memory are taken to use some
 */
export function podRequests({ spec }: Pod, assume = false): Resources {
  const total = noResources();
  for (const container of spec?.containers ?? []) addResources(total, requestsOf(container, assume));
  if (spec?.initContainers !== undefined && spec.initContainers.length > 0) {
    const sidecars = noResources();
    const initial = noResources();
    for (const container of spec.initContainers) {
      const own = requestsOf(container, assume);
      addResources(own, sidecars);
      takeGreater(initial, own);
      if (container.restartPolicy === 'Always') addResources(sidecars, requestsOf(container, assume));
    }
    addResources(total, sidecars);
    takeGreater(total, initial);
  }
  if (spec?.overhead !== undefined) addResources(total, parseResources(spec.overhead));
  return total;
}
