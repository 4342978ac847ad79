/** Asks an agent for its Summary (`/stats/summary`, `cluster/node/stats.ts`), and takes from it what the usage is made of. */
import { readBounded } from '#lib/read-bounded.ts';
import { nodes } from '../../kinds/resources.ts';
import type { Node } from '../../kinds/types/core.ts';
import type { AgentDialer } from '../agent-dialer.ts';
import { type Cache, kindPrefix, objectOf } from '../cache.ts';

export interface Sample {
  /** By the node's clock, in milliseconds. */
  at: number;
  /** All that was used since it began. */
  cpuNanos: number;
  workingSetBytes: number;
}

export interface ContainerSample extends Sample {
  startedAt: number;
}

export interface NodeSummary {
  node: Sample;
  /** By `<namespace>/<name>`: containers by name. */
  pods: Map<string, Map<string, ContainerSample>>;
}

/** A thousand pods are a megabyte. */
const SIZE_LIMIT = 16 * 1024 * 1024;
const TIMEOUT = 5_000;

/** Without those that have said nothing for so long that they are marked: whoever asks would wait for each of them. */
export function nodesHeardOf(cache: Cache): string[] {
  return Array.from(cache.resource(kindPrefix(nodes)).objects.values())
    .filter((cached) => {
      const { status } = objectOf(cached) as Node;
      return !status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'Unknown');
    })
    .map(({ name }) => name);
}

/** Rejects when the agent cannot be reached, does not answer within five seconds, or with something else. */
export async function readSummary(agents: AgentDialer, node: string): Promise<NodeSummary> {
  const timeout = AbortSignal.timeout(TIMEOUT);
  const answer = await agents.get(agents.address(node), '/stats/summary', (abort) => {
    timeout.addEventListener('abort', abort, { once: true });
  });
  const tooLong = () => new Error(`its summary is longer than ${SIZE_LIMIT} bytes`);
  const text = await readBounded(answer, SIZE_LIMIT, tooLong);
  if (answer.statusCode !== 200) throw new Error(`its agent answers ${answer.statusCode}`);
  return parseSummary(JSON.parse(text.toString()));
}

/** Exported for its test. Throws on what is not in the form of the Summary API. */
export function parseSummary(summary: unknown): NodeSummary {
  const pods: NodeSummary['pods'] = new Map();
  for (const pod of items(field(summary, 'pods'))) {
    const podRef = field(pod, 'podRef');
    const containers = new Map<string, ContainerSample>();
    for (const container of items(field(pod, 'containers')))
      containers.set(text(field(container, 'name')), {
        ...sample(container),
        startedAt: time(field(container, 'startTime')),
      });
    pods.set(`${text(field(podRef, 'namespace'))}/${text(field(podRef, 'name'))}`, containers);
  }
  return { node: sample(field(summary, 'node')), pods };
}

function sample(of: unknown): Sample {
  const cpu = field(of, 'cpu');
  return {
    at: time(field(cpu, 'time')),
    cpuNanos: amount(field(cpu, 'usageCoreNanoSeconds')),
    workingSetBytes: amount(field(field(of, 'memory'), 'workingSetBytes')),
  };
}

function field(of: unknown, name: string): unknown {
  if (typeof of !== 'object' || of === null) throw new Error(`its summary has no object with a field ${name}`);
  return (of as Record<string, unknown>)[name];
}

function items(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Error(`its summary has ${JSON.stringify(value)} for a name`);
  return value;
}

function time(value: unknown): number {
  const milliseconds = Date.parse(String(value));
  if (Number.isNaN(milliseconds)) throw new Error(`its summary has ${JSON.stringify(value)} for a time`);
  return milliseconds;
}

function amount(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw new Error(`its summary has ${JSON.stringify(value)} for an amount`);
  return Math.round(value);
}
