/**
 * Sidecars as containers of the pods of their processes: network, image, variables and `/tmp` are those of the app, everything
 * else is their own. They share the memory of the instance: one that names an amount takes it from the app's.
 */
import { createHash } from 'node:crypto';
import type { ReplicaSet } from '#cluster/kinds/types/apps.ts';
import type { Container } from '#cluster/kinds/types/core.ts';
import { startsByImage } from '../resources/droplets.ts';
import { memoryAnnotation } from '../resources/instances.ts';
import type { SidecarFacts } from '../resources/types.ts';
import { escaped, type InstanceInput, RESTRICTED, resourcesOf, slug } from './pod-template.ts';

const SHARED = 'shared-tmp';

/** The ReplicaSet of an instance, with those of the revision's sidecars that run beside its process. */
export function withSidecars(set: ReplicaSet, input: InstanceInput): ReplicaSet {
  const { memoryMb, diskMb, type } = input.process.spec;
  const sidecars = (input.revision.spec.sidecars ?? []).filter(({ processTypes }) => processTypes.includes(type));
  const { spec } = set;
  const template = spec?.template;
  const [app] = template?.spec?.containers ?? [];
  if (sidecars.length === 0 || !spec || !template?.spec || !app) return set;
  const left = sidecars.reduce((rest, { memoryMb: taken = 0 }) => rest - taken, memoryMb);
  const main = { ...app, ...sized(app, left), resources: resourcesOf({ memoryMb: left, diskMb }) };
  const containers = [main, ...sidecars.map((facts) => sidecarContainer(input, main, facts, facts.memoryMb ?? left))];
  return {
    ...set,
    spec: {
      ...spec,
      template: {
        metadata: {
          ...template.metadata,
          annotations: { ...template.metadata?.annotations, [memoryAnnotation]: `${memoryMb}Mi` },
        },
        spec: {
          ...template.spec,
          containers: containers.map((container) => ({
            ...container,
            volumeMounts: [...(main.volumeMounts ?? []), { name: SHARED, mountPath: '/tmp' }],
          })),
          volumes: [...(template.spec.volumes ?? []), { name: SHARED, emptyDir: { sizeLimit: `${diskMb}Mi` } }],
        },
      },
    },
  };
}

function sidecarContainer(input: InstanceInput, app: Container, facts: SidecarFacts, memoryMb: number): Container {
  const { requests = {}, limits = {} } = resourcesOf({ memoryMb, diskMb: input.process.spec.diskMb });
  const command = escaped(facts.command);
  return {
    name: containerName(facts.displayName),
    image: app.image ?? '',
    imagePullPolicy: 'IfNotPresent',
    ...(startsByImage(input.droplet) ? { command: ['/bin/sh', '-c', command] } : { args: [command] }),
    ...sized(app, memoryMb),
    ...(app.envFrom ? { envFrom: app.envFrom } : {}),
    // What it shares with the app is asked for once.
    resources: { limits, requests: facts.memoryMb === undefined ? { cpu: '10m', memory: '0' } : requests },
    securityContext: RESTRICTED,
    ...(app.lifecycle ? { lifecycle: app.lifecycle } : {}),
  };
}

/** The app's variables, for a container that may have so much. */
function sized({ env = [] }: Container, memoryMb: number): Pick<Container, 'env'> {
  return {
    env: env.map((variable) => (variable.name === 'MEMORY_LIMIT' ? { ...variable, value: `${memoryMb}m` } : variable)),
  };
}

/** Its own name where a container can have it, so that people find it again in `kubectl` and in the log. */
function containerName(name: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name) && name !== 'app') return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${slug(name, 40) || 'sidecar'}-${hash}`;
}
