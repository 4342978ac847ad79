/** Which CSI drivers a node has: the node writes it, as plugins come and go. */
import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { driverName } from './csi-driver.ts';
import { defineKind } from './define.ts';
import { invalid } from './field-errors.ts';
import { csiNodes } from './resources.ts';
import { check, nonNegative, present, qualifiedName, type Rule, unique } from './rules.ts';
import type { CSINode } from './types/storage.ts';

const LONGEST_ID = 256;

export const csiNodeKind = defineKind(csiNodes, {
  schemaName: 'io.k8s.api.storage.v1.CSINode',
  returnsDeleted: true,
  needsRevision: true,
  columns: [nameColumn, column<CSINode>('Drivers', 'integer', ({ spec }) => (spec.drivers ?? []).length), ageColumn],
  validate: (object) =>
    check(object, {
      'spec.drivers': unique('name'),
      'spec.drivers[*].name': driverName,
      'spec.drivers[*].nodeID': [present(), nodeId],
      'spec.drivers[*].allocatable.count': nonNegative,
      'spec.drivers[*].topologyKeys[*]': [present(), qualifiedName],
    }),
  validateUpdate: (object, old) => {
    const before = (old as unknown as CSINode).spec.drivers ?? [];
    return ((object as unknown as CSINode).spec.drivers ?? [])
      .filter((driver) => before.some((one) => one.name === driver.name && !isDeepStrictEqual(one, driver)))
      .map((driver) => invalid('CSINodeDriver', driver, 'field is immutable'));
  },
});

function nodeId(value: unknown, field: string): ReturnType<Rule> {
  return String(value).length > LONGEST_ID ? [invalid(field, value, `must be ${LONGEST_ID} characters or less`)] : [];
}
