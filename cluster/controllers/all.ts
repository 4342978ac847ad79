/** Every controller of the server, for the composition root. */
import type { Controller } from './controller.ts';
import { createDeploymentController } from './deployment.ts';
import { createEndpointSliceController } from './endpoint-slice.ts';
import { createReplicaSetController } from './replica-set.ts';

export function allControllers(): Controller[] {
  return [createReplicaSetController(), createDeploymentController(), createEndpointSliceController()];
}
