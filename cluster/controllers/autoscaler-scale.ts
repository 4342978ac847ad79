/** The scale of what an autoscaler names: of whatever kind, as long as it has the subresource. */
import { ApiError, type Client } from '../client/client.ts';
import type { Scale } from '../kinds/types/autoscaling.ts';
import type { CrossVersionObjectReference } from '../kinds/types/autoscaling-v2.ts';

interface FoundResource {
  group: string;
  resource: string;
  /** Of its version: `/apis/apps/v1`. */
  root: string;
}

export interface TargetScale {
  scale: Scale;
  /** Fails with a conflict when it was changed meanwhile. */
  write(replicas: number): Promise<void>;
}

export async function readScale(
  client: Client,
  namespace: string,
  target: CrossVersionObjectReference,
): Promise<TargetScale> {
  const { root, resource } = await resourceOfKind(client, target).catch((error: unknown) => {
    throw new Error(`unable to determine resource for scale target reference: ${messageOf(error)}`, { cause: error });
  });
  const path = `${root}/namespaces/${namespace}/${resource}/${encodeURIComponent(target.name)}/scale`;
  const scale = await client.request<Scale>({ method: 'GET', path });
  return {
    scale,
    async write(replicas) {
      await client.request({ method: 'PUT', path, body: { ...scale, spec: { ...scale.spec, replicas } } });
    },
  };
}

/** By discovery, each time: kinds come and go. */
export async function resourceOfKind(
  client: Client,
  { apiVersion = 'v1', kind }: CrossVersionObjectReference,
): Promise<FoundResource> {
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  const root = slash < 0 ? `/api/${apiVersion}` : `/apis/${apiVersion}`;
  const { resources } = await client
    .request<{ resources: { name: string; kind: string }[] }>({ method: 'GET', path: root })
    .catch((error: unknown) => {
      if (error instanceof ApiError && error.code === 404) return { resources: [] };
      throw error;
    });
  const found = resources.find((one) => one.kind === kind && !one.name.includes('/'));
  if (found === undefined) throw new Error(`no matches for kind "${kind}" in group "${group}"`);
  return { group, resource: found.name, root };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
