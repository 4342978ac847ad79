/** Every controller of the server, for the composition root. */
import type { Controller } from './controller.ts';
import { createDeploymentController } from './deployment.ts';
import { createEndpointSliceController } from './endpoint-slice.ts';
import { createEventExpiry } from './event-expiry.ts';
import { createGarbageCollector } from './garbage-collector.ts';
import { createNamespaceController } from './namespace.ts';
import { createNodeLifecycleController } from './node-lifecycle.ts';
import { createPodCollector } from './pod-collector.ts';
import { createReplicaSetController } from './replica-set.ts';
import { createServiceAccountController } from './service-account.ts';

export function allControllers(): Controller[] {
  return [
    createReplicaSetController(),
    createDeploymentController(),
    createEndpointSliceController(),
    createNamespaceController(),
    createServiceAccountController(),
    createGarbageCollector(),
    createNodeLifecycleController(),
    createPodCollector(),
    createEventExpiry(),
  ];
}
