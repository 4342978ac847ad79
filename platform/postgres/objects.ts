/** What a database is made of in the cluster: pure functions of what is wanted. */
import { createHash } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { StatefulSet } from '#cluster/kinds/types/apps.ts';
import type { PersistentVolumeClaim, PodTemplateSpec, Service } from '#cluster/kinds/types/core.ts';
import type { NetworkPolicy, NetworkPolicyPeer } from '#cluster/kinds/types/networking.ts';
import type { ObjectMeta } from '#cluster/kinds/types/meta.ts';
import { serverOptions } from './plans.ts';
import { NAMESPACE, type Plan, PORT } from './postgres.ts';
import { labels, type PostgresDatabase } from './resource.ts';

export const CONTAINER = 'postgres';
/** What the server runs, as a digest: on its pods, to tell those of before a change from those after it. */
export const TEMPLATE = 'postgres.sampan.dev/template';
/** Time to write down what is in memory when it is stopped. */
const STOP_SECONDS = 60;

type Database = Stored<PostgresDatabase>;

/** Held back by what it owns: a database is gone when its volume is. */
export function ownedBy(database: Database): NonNullable<ObjectMeta['ownerReferences']> {
  const { name, uid } = database.metadata;
  return [
    {
      apiVersion: 'platform.sampan.dev/v1',
      kind: 'PostgresDatabase',
      name,
      uid,
      controller: true,
      blockOwnerDeletion: true,
    },
  ];
}

function metadata(database: Database): ObjectMeta {
  const { name } = database.metadata;
  return { name, namespace: NAMESPACE, labels: { [labels.database]: name }, ownerReferences: ownedBy(database) };
}

export function hostnameOf(database: string, clusterDomain: string): string {
  return `${database}.${NAMESPACE}.svc.${clusterDomain}`;
}

/** As the API server writes it. */
export function storageOf({ diskMb }: Plan): string {
  return diskMb % 1024 === 0 ? `${diskMb / 1024}Gi` : `${diskMb}Mi`;
}

export function claimFor(database: Database, plan: Plan): PersistentVolumeClaim {
  return {
    metadata: metadata(database),
    spec: { accessModes: ['ReadWriteOncePod'], resources: { requests: { storage: storageOf(plan) } } },
  };
}

export function serviceFor(database: Database): Service {
  return {
    metadata: metadata(database),
    spec: {
      selector: { [labels.database]: database.metadata.name },
      ports: [{ name: 'postgres', port: PORT, protocol: 'TCP', targetPort: PORT }],
    },
  };
}

/** @param clients  who may connect; nobody when there is none */
export function policyFor(database: Database, clients: readonly NetworkPolicyPeer[]): NetworkPolicy {
  return {
    metadata: metadata(database),
    spec: {
      podSelector: { matchLabels: { [labels.database]: database.metadata.name } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: clients.length === 0 ? [] : [{ from: [...clients], ports: [{ protocol: 'TCP', port: PORT }] }],
      egress: [],
    },
  };
}

export function statefulSetFor(database: Database, plan: Plan, image: string): StatefulSet {
  const { name } = database.metadata;
  const template = templateFor(database, plan, image);
  const digest = createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 20);
  template.metadata = { ...template.metadata, annotations: { ...template.metadata?.annotations, [TEMPLATE]: digest } };
  return {
    metadata: metadata(database),
    spec: { replicas: 1, serviceName: name, selector: { matchLabels: { [labels.database]: name } }, template },
  };
}

function templateFor(database: Database, plan: Plan, image: string): PodTemplateSpec {
  const { name } = database.metadata;
  const memory = `${plan.memoryMb}Mi`;
  return {
    metadata: {
      labels: { [labels.database]: name },
      annotations: { 'node.sampan.dev/pids': '1024', 'node.sampan.dev/backoff': 'cloudfoundry' },
    },
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: STOP_SECONDS,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        fsGroup: 1000,
        // The server refuses files that its group may write.
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: CONTAINER,
          image,
          imagePullPolicy: 'IfNotPresent',
          terminationMessagePolicy: 'FallbackToLogsOnError',
          args: serverOptions(plan),
          ...(database.spec.tls === 'optional'
            ? { env: [{ name: 'HBA_FILE', value: '/etc/postgresql/hba-any.conf' }] }
            : {}),
          ports: [{ name: 'postgres', containerPort: PORT, protocol: 'TCP' }],
          resources: {
            requests: { cpu: `${Math.ceil(plan.cpuMillis / 10)}m`, memory },
            limits: { cpu: `${plan.cpuMillis}m`, memory, 'ephemeral-storage': '256Mi' },
          },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
          readinessProbe: {
            exec: { command: ['pg_isready', '-q', '-U', 'postgres', '-d', 'postgres'] },
            periodSeconds: 2,
            timeoutSeconds: 5,
          },
          volumeMounts: [
            { name: 'data', mountPath: '/data' },
            { name: 'tls', mountPath: '/tls', readOnly: true },
          ],
        },
      ],
      volumes: [
        { name: 'data', persistentVolumeClaim: { claimName: name } },
        { name: 'tls', secret: { secretName: `${name}-tls`, defaultMode: 0o440 } },
      ],
    },
  };
}
