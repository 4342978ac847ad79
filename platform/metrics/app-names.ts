/** What people call an app and where it is, for tags and labels. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { Informers } from '../resources/informers.ts';
import { annotations, apps, labels, organizations, spaces } from '../resources/types.ts';

export interface AppNames {
  app: string;
  appName: string;
  space: string;
  spaceName: string;
  organization: string;
  organizationName: string;
}

/** Undefined for an app that is gone. */
export function namesOf(informers: Informers, app: string): AppNames | undefined {
  const object = informers.of(apps).byIndex('platform/guid', app)[0];
  if (object === undefined) return undefined;
  const space = informers.of(spaces).get(object.metadata.labels?.[labels.space] ?? object.metadata.namespace ?? '');
  const organization = informers.of(organizations).get(space?.spec.organization ?? '');
  return {
    app,
    appName: object.spec.displayName,
    space: space?.metadata.name ?? '',
    spaceName: space?.spec.displayName ?? '',
    organization: organization?.metadata.name ?? '',
    organizationName: organization?.spec.displayName ?? '',
  };
}

/** Of an instance, in Cloud Foundry's words. */
export function tagsOf(informers: Informers, pod: Stored<Pod>): Record<string, string> {
  const of = (label: string): string => pod.metadata.labels?.[label] ?? '';
  const app = of(labels.app);
  const names = namesOf(informers, app);
  return {
    ...(names !== undefined && appTags(names)),
    process_id: of(labels.process),
    process_type: of(labels.processType),
    process_instance_id: pod.metadata.uid,
    instance_id: pod.metadata.annotations?.[annotations.instanceIndex] ?? '0',
    source_id: app,
  };
}

export function appTags(names: AppNames): Record<string, string> {
  return {
    app_id: names.app,
    app_name: names.appName,
    space_id: names.space,
    space_name: names.spaceName,
    organization_id: names.organization,
    organization_name: names.organizationName,
    source_id: names.app,
  };
}
