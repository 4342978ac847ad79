/** How much storage a CSI driver has where, by its external-provisioner: the scheduler asks. */
import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { nodeSelectorWarnings } from './node-label-warnings.ts';
import { csiStorageCapacities } from './resources.ts';
import { check, dnsSubdomain, immutable, labelSelector, present, quantity } from './rules.ts';
import type { CSIStorageCapacity } from './types/storage.ts';

export const csiStorageCapacityKind = defineKind(csiStorageCapacities, {
  schemaName: 'io.k8s.api.storage.v1.CSIStorageCapacity',
  needsRevision: true,
  columns: [nameColumn, column('Created At', 'date', (object) => object.metadata.creationTimestamp ?? '')],
  validate: (object) =>
    check(object, {
      nodeTopology: labelSelector,
      storageClassName: [present(), dnsSubdomain],
      capacity: quantity,
    }),
  warnings: (object) => nodeSelectorWarnings((object as unknown as CSIStorageCapacity).nodeTopology, 'nodeTopology'),
  validateUpdate: immutable('nodeTopology', 'storageClassName'),
});
