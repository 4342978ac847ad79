/**
 * Writes that are insisted on: sent until they are answered, through the API or by kubectl. One that broke off may have been done;
 * it is sent again, and says the same. So what is wanted when a write returns is what an acknowledged write says.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '#cluster/client/client.ts';
import { finish } from '../platform.ts';
import type { ClusterUnderFire } from './cluster.ts';

export const namespace = 'default';

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; annotations?: Record<string, string> };
  [field: string]: unknown;
}

export interface Writer {
  apply(manifest: Manifest): Promise<void>;
  scale(kind: 'deployment' | 'statefulset', name: string, replicas: number): Promise<void>;
  remove(kind: keyof typeof paths, name: string, cascade: 'foreground' | 'background'): Promise<void>;
}

const paths = {
  ConfigMap: 'api/v1/namespaces/default/configmaps',
  Service: 'api/v1/namespaces/default/services',
  Deployment: 'apis/apps/v1/namespaces/default/deployments',
  StatefulSet: 'apis/apps/v1/namespaces/default/statefulsets',
  Job: 'apis/batch/v1/namespaces/default/jobs',
} as const;

const manager = 'under-fire';
/** A server that is killed again and again is away for some seconds at a time. */
const TRIES = 1200;
const PAUSE = 100;

export function apiWriter({ client }: ClusterUnderFire): Writer {
  const insist = async (fine: readonly number[], work: () => Promise<unknown>): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      try {
        await work();
        return;
      } catch (error) {
        if (!(error instanceof ApiError) || tries === TRIES) throw error;
        if (fine.includes(error.code)) return;
        if (error.code !== 0 && error.code !== 429 && error.code < 500) throw error;
      }
      await delay(PAUSE);
    }
  };
  return {
    apply: (manifest) =>
      insist([], () =>
        client.request({
          method: 'PATCH',
          path: `/${pathOf(manifest.kind)}/${manifest.metadata.name}`,
          query: { fieldManager: manager, force: 'true' },
          contentType: 'application/apply-patch+yaml',
          body: manifest,
        }),
      ),
    scale: (kind, name, replicas) =>
      insist([], () =>
        client.request({
          method: 'PATCH',
          path: `/apis/apps/v1/namespaces/${namespace}/${kind}s/${name}/scale`,
          contentType: 'application/merge-patch+json',
          body: { spec: { replicas } },
        }),
      ),
    remove: (kind, name, cascade) =>
      insist([404], () =>
        client.request({
          method: 'DELETE',
          path: `/${paths[kind]}/${name}`,
          body: { propagationPolicy: cascade === 'foreground' ? 'Foreground' : 'Background' },
        }),
      ),
  };
}

export function kubectlWriter(cluster: ClusterUnderFire): Writer {
  const kubeconfig = [
    '--kubeconfig',
    `${cluster.dataDirectory}/kubeconfig`,
    '--cache-dir',
    `${cluster.directory}/cache`,
  ];
  const insist = async (words: string[], input?: string): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      const { code, stderr } = await finish('kubectl', [...kubeconfig, ...words], {
        env: process.env,
        ...(input !== undefined && { input }),
      });
      if (code === 0) return;
      // What the server says of the request itself is no outage.
      if (tries === TRIES || /\((BadRequest|Invalid|Forbidden|Conflict|NotFound)\)/.test(stderr))
        throw new Error(`kubectl ${words.join(' ')}: ${stderr}`);
      await delay(PAUSE);
    }
  };
  return {
    apply: (manifest) =>
      insist(
        ['apply', '--server-side', '--force-conflicts', '--field-manager', manager, '-f', '-'],
        JSON.stringify(manifest),
      ),
    scale: (kind, name, replicas) => insist(['scale', `${kind}/${name}`, `--replicas=${replicas}`]),
    remove: (kind, name, cascade) =>
      insist(['delete', kind.toLowerCase(), name, `--cascade=${cascade}`, '--wait=false', '--ignore-not-found']),
  };
}

function pathOf(kind: string): string {
  const path = Object.entries(paths).find(([known]) => known === kind)?.[1];
  if (path === undefined) throw new Error(`a ${kind} is written nowhere here`);
  return path;
}
