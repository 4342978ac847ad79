/** What every resource of the API has. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { UserMetadata } from '../../resources/types.ts';
import type { Json } from '../api.ts';
import { createdAt, updatedAt } from '../records.ts';

/** Cloud Foundry's times have seconds. */
export function time(value: string): string {
  return value.replace(/\.\d+Z$/, 'Z');
}

export function base(object: Stored<ClientObject>): { guid: string; created_at: string; updated_at: string } {
  return { guid: object.metadata.name, created_at: time(createdAt(object)), updated_at: time(updatedAt(object)) };
}

export function metadata(object: { spec: { userMetadata?: UserMetadata } }): Json {
  return {
    labels: object.spec.userMetadata?.labels ?? {},
    annotations: object.spec.userMetadata?.annotations ?? {},
  };
}

export function toOne(guid: string | undefined): Json {
  return { data: guid === undefined ? null : { guid } };
}

export function link(href: string, method?: string): Json {
  return method === undefined ? { href } : { href, method };
}
