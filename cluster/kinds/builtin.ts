/** Every kind that the server has from the start. */
import { configMapKind } from './config-map.ts';
import { customResourceDefinitionKind } from './custom-resource-definition.ts';
import { deploymentKind } from './deployment.ts';
import { endpointSliceKind } from './endpoint-slice.ts';
import { eventKind } from './event.ts';
import type { KindDefinition } from './kind.ts';
import { leaseKind } from './lease.ts';
import { namespaceKind } from './namespace.ts';
import { nodeKind } from './node.ts';
import { podKind } from './pod.ts';
import { replicaSetKind } from './replica-set.ts';
import { secretKind } from './secret.ts';
import { serviceAccountKind } from './service-account.ts';
import { serviceKind } from './service.ts';

export const builtinKinds: readonly KindDefinition[] = [
  namespaceKind,
  nodeKind,
  podKind,
  serviceKind,
  configMapKind,
  secretKind,
  serviceAccountKind,
  eventKind,
  replicaSetKind,
  deploymentKind,
  endpointSliceKind,
  leaseKind,
  customResourceDefinitionKind,
];
