/** The rules of an aggregated ClusterRole are those of all ClusterRoles that its selectors choose. */
import type { Informer } from '../client/client.ts';
import { clusterRoles } from '../kinds/resources.ts';
import { matchesLabelSelector } from '../kinds/selector.ts';
import type { ClusterRole, PolicyRule } from '../kinds/types/rbac.ts';
import type { Controller } from './controller.ts';
import { openInformer, sameJson } from './objects.ts';

export function createClusterRoleAggregation(): Controller {
  let roles: Informer<ClusterRole>;
  const aggregated = () => roles.list().filter(({ aggregationRule }) => aggregationRule !== undefined);
  return {
    name: 'clusterrole-aggregation',
    async start(context, enqueue) {
      roles = openInformer(context, clusterRoles);
      const enqueueAll = () => {
        for (const { metadata } of aggregated()) enqueue(metadata.name);
      };
      roles.onChange(enqueueAll);
      await roles.synced;
      enqueueAll();
    },
    keys: () => aggregated().map(({ metadata }) => metadata.name),
    async reconcile(name, { client }) {
      const role = roles.get(name);
      if (role?.aggregationRule === undefined) return;
      const selectors = role.aggregationRule.clusterRoleSelectors ?? [];
      const rules: PolicyRule[] = [];
      const seen = new Set<string>();
      const sources = roles
        .list()
        .filter(({ metadata }) => metadata.name !== name)
        .filter(({ metadata }) => selectors.some((selector) => matchesLabelSelector(selector, metadata.labels)))
        .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
      for (const rule of sources.flatMap((source) => source.rules ?? [])) {
        const text = JSON.stringify(rule);
        if (!seen.has(text)) rules.push(rule);
        seen.add(text);
      }
      if (!sameJson(role.rules ?? [], rules)) await client.update(clusterRoles, { ...role, rules });
    },
  };
}
