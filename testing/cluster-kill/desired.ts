/** What is wanted of a cluster under fire, as its clients were answered. */
import { image } from './cluster.ts';
import type { Manifest } from './writer.ts';

export interface Replicated {
  replicas: number;
  /** Which version of its template; in an annotation of the object and of each pod. */
  turn: string;
}

export class Desired {
  readonly deployments = new Map<string, Replicated>();
  readonly statefulSets = new Map<string, Replicated>();
  /** Their completions. */
  readonly jobs = new Map<string, number>();
  /** By name, which deployment they lead to. */
  readonly services = new Map<string, string>();
  readonly configMaps = new Map<string, string>();
}

export const TURN = 'under-fire/turn';
export const PORT = 8080;
export const SERVICE_PORT = 80;

/** Serves the name of its pod at /name, and has a volume of each kind. */
export function deployment(
  name: string,
  { replicas, turn }: Replicated,
  strategy: 'Recreate' | 'RollingUpdate',
): Manifest {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, annotations: { [TURN]: turn } },
    spec: {
      replicas,
      revisionHistoryLimit: 2,
      strategy: { type: strategy },
      selector: { matchLabels: { app: name } },
      template: template(name, turn, {
        volumeMounts: [
          { name: 'scratch', mountPath: '/scratch' },
          { name: 'settings', mountPath: '/settings' },
        ],
        volumes: [
          { name: 'scratch', emptyDir: { sizeLimit: '8Mi' } },
          { name: 'settings', configMap: { name: 'settings' } },
        ],
      }),
    },
  };
}

export function statefulSet(
  name: string,
  { replicas, turn }: Replicated,
  policy: 'Parallel' | 'OrderedReady',
): Manifest {
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name, annotations: { [TURN]: turn } },
    spec: {
      replicas,
      serviceName: name,
      podManagementPolicy: policy,
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete', whenScaled: 'Delete' },
      selector: { matchLabels: { app: name } },
      template: template(name, turn, { volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
      volumeClaimTemplates: [
        {
          metadata: { name: 'data' },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '16Mi' } } },
        },
      ],
    },
  };
}

export function job(name: string, completions: number): Manifest {
  const container = { name: 'main', image, imagePullPolicy: 'IfNotPresent', command: ['/bin/busybox', 'sleep', '0.3'] };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: {
      completions,
      parallelism: 2,
      // Those whose process or monitor was killed have failed.
      backoffLimit: 100,
      template: {
        metadata: { labels: { app: name } },
        spec: { restartPolicy: 'Never', terminationGracePeriodSeconds: 1, containers: [container] },
      },
    },
  };
}

export function service(name: string, app: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { app }, ports: [{ port: SERVICE_PORT, targetPort: PORT }] },
  };
}

export function configMap(name: string, value: string): Manifest {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value } };
}

function template(
  app: string,
  turn: string,
  { volumeMounts, volumes }: { volumeMounts: object[]; volumes?: object[] },
): object {
  const script = `/bin/busybox mkdir /tmp/w; /bin/busybox hostname > /tmp/w/name; exec /bin/busybox httpd -f -p ${PORT} -h /tmp/w`;
  return {
    metadata: { labels: { app }, annotations: { [TURN]: turn } },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: 'main',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: ['/bin/busybox', 'sh', '-c', script],
          readinessProbe: { tcpSocket: { port: PORT } },
          volumeMounts,
        },
      ],
      ...(volumes !== undefined && { volumes }),
    },
  };
}
