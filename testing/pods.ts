/** What tests of nodes ask of pods. */
import { text } from 'node:stream/consumers';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { events } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { until } from './control-plane.ts';

interface PodName {
  name: string;
  namespace: string;
}

export function isReady(pod: Stored<Pod> | undefined): boolean {
  return pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** Resolves when there is such an event of the pod. */
export async function untilEvent(
  client: Client,
  { name, namespace }: PodName,
  { reason, pattern }: { reason: string; pattern: RegExp },
): Promise<void> {
  await until(client, events, namespace, (items) =>
    items.some(
      (event) => event.involvedObject.name === name && event.reason === reason && pattern.test(event.message ?? ''),
    ),
  );
}

/** What the script said in a container of the pod, errors last. */
export async function shellIn(client: Client, pod: PodName, script: string, container?: string): Promise<string> {
  const where = container === undefined ? {} : { container };
  const session = await client.exec(pod, { ...where, command: ['sh', '-c', script] });
  const [out, err] = await Promise.all([text(session.stdout), text(session.stderr), session.exited]);
  return `${out}${err}`.trim();
}
