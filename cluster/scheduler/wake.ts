/** Passes changes to the hints of those plugins that turned pods away. */
import type { ClientObject } from '../client/client.ts';
import type { ResourceRef, Stored } from '../kinds/kind.ts';
import type { Hint, Plugin } from './plugin.ts';
import type { PodQueue } from './pod-queue.ts';

export type Wake = (
  resource: ResourceRef,
  now: Stored<ClientObject> | undefined,
  old: Stored<ClientObject> | undefined,
) => void;

function keyOf({ group, resource }: ResourceRef): string {
  return `${group}/${resource}`;
}

export function createWake(plugins: readonly Plugin[], queue: PodQueue): Wake {
  const byResource = new Map<string, { plugin: string; helps: Hint['helps'] }[]>();
  for (const { name, hints = [] } of plugins) {
    for (const { resource, helps } of hints) {
      const key = keyOf(resource);
      const known = byResource.get(key);
      if (known) known.push({ plugin: name, helps });
      else byResource.set(key, [{ plugin: name, helps }]);
    }
  }
  return (resource, now, old) => {
    for (const { plugin, helps } of byResource.get(keyOf(resource)) ?? [])
      if (queue.waitingFor(plugin) > 0) queue.wake(plugin, (pod) => helps(pod, now, old));
  };
}

/** Every resource that some hint is about. */
export function hintedResources(plugins: readonly Plugin[]): ResourceRef[] {
  const all = plugins.flatMap(({ hints = [] }) => hints.map(({ resource }) => resource));
  return [...new Map(all.map((resource) => [keyOf(resource), resource])).values()];
}
