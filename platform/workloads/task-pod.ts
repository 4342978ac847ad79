/** The pod of a task: a pure function of what the platform's objects say. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Container, Pod } from '#cluster/kinds/types/core.ts';
import { startsByImage } from '../resources/droplets.ts';
import { placement } from '../resources/segments.ts';
import { annotations, type App, type Droplet, labels, type Task } from '../resources/types.ts';
import {
  applicationFacts,
  escaped,
  type InstanceInput,
  instanceVariables,
  labelValue,
  logRateOf,
  PIDS,
  pullSecrets,
  resourcesOf,
  RESTRICTED,
  runAsUser,
  slug,
  userLookupOf,
  variablesOf,
} from './pod-template.ts';
import { servicesMount, servicesVariable, servicesVolume } from './kept-services.ts';
import { DRAIN_SECONDS } from './workloads.ts';

export interface TaskInput
  extends Pick<InstanceInput, 'space' | 'organization' | 'uris' | 'apiUrl' | 'services' | 'segment'> {
  app: Stored<App>;
  task: Stored<Task>;
  droplet: Stored<Droplet>;
}

export function taskPodName({ app, task }: Pick<TaskInput, 'app' | 'task'>): string {
  return `${slug(app.spec.displayName, 24) || 'app'}-task-${task.metadata.name}`;
}

export function taskPod(input: TaskInput): Pod {
  const { app, task, droplet, space } = input;
  return {
    metadata: {
      name: taskPodName(input),
      namespace: app.metadata.namespace ?? '',
      labels: {
        [labels.task]: task.metadata.name,
        [labels.app]: app.metadata.name,
        [labels.appName]: labelValue(app.spec.displayName),
        [labels.space]: space.metadata.name,
        [labels.organization]: space.spec.organization,
        [labels.droplet]: droplet.metadata.name,
      },
      annotations: {
        [annotations.taskName]: task.spec.displayName,
        'node.sampan.dev/pids': PIDS,
        ...logRateOf(task.spec),
        ...userLookupOf(droplet),
      },
      ownerReferences: [
        {
          apiVersion: 'platform.sampan.dev/v1',
          kind: 'Task',
          name: task.metadata.name,
          uid: task.metadata.uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: DRAIN_SECONDS,
      securityContext: { runAsNonRoot: true, ...runAsUser(droplet), seccompProfile: { type: 'RuntimeDefault' } },
      ...pullSecrets(droplet),
      ...placement(input.segment),
      ...servicesVolume(input.services),
      containers: [container(input)],
    },
  };
}

function container(input: TaskInput): Container {
  const { task, app, droplet } = input;
  const command = escaped(task.spec.command);
  const facts = { ...applicationFacts(input, task.spec), process_type: 'task' };
  return {
    name: 'task',
    image: droplet.spec.image,
    imagePullPolicy: 'IfNotPresent',
    // The launcher of a droplet takes a command for the shell.
    ...(startsByImage(droplet) ? { command: ['/bin/sh', '-c', command] } : { args: [command] }),
    env: [
      { name: 'VCAP_APPLICATION', value: escaped(JSON.stringify(facts)) },
      servicesVariable(input.services),
      { name: 'MEMORY_LIMIT', value: `${task.spec.memoryMb}m` },
      ...instanceVariables(),
    ],
    envFrom: variablesOf(`running-${task.metadata.name}`, app.metadata.name),
    resources: resourcesOf(task.spec),
    ...servicesMount(input.services),
    securityContext: RESTRICTED,
  };
}
