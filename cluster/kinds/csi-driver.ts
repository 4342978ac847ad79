/** What a CSI driver says of itself: nodes and the scheduler keep to it (`node/csi/csi.ts`). */
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid, required, tooLong } from './field-errors.ts';
import { dnsSubdomainProblem } from './names.ts';
import { csiDrivers } from './resources.ts';
import { check, eachOf, immutable, oneOf, type Rule, setDefaults, unique } from './rules.ts';
import type { CSIDriver } from './types/storage.ts';

const SHORTEST_TOKEN = 600;
const LONGEST_TOKEN = 2 ** 32;
const LONGEST_NAME = 63;

export const csiDriverKind = defineKind(csiDrivers, {
  schemaName: 'io.k8s.api.storage.v1.CSIDriver',
  returnsDeleted: true,
  needsRevision: true,
  generation: true,
  columns: [
    nameColumn,
    column<CSIDriver>('AttachRequired', 'boolean', ({ spec }) => spec.attachRequired ?? true),
    column<CSIDriver>('PodInfoOnMount', 'boolean', ({ spec }) => spec.podInfoOnMount ?? false),
    column<CSIDriver>('StorageCapacity', 'boolean', ({ spec }) => spec.storageCapacity ?? false),
    column<CSIDriver>('TokenRequests', 'string', ({ spec: { tokenRequests = [] } }) =>
      tokenRequests.length === 0 ? '<unset>' : tokenRequests.map(({ audience }) => audience).join(','),
    ),
    column<CSIDriver>('RequiresRepublish', 'boolean', ({ spec }) => spec.requiresRepublish ?? false),
    column<CSIDriver>('Modes', 'string', ({ spec }) => (spec.volumeLifecycleModes ?? []).join(',') || '<none>'),
    ageColumn,
  ],
  defaults: (object) => {
    const { spec } = object as Partial<CSIDriver>;
    if (spec?.volumeLifecycleModes?.length === 0) delete spec.volumeLifecycleModes;
    setDefaults(object, {
      'spec.attachRequired': true,
      'spec.podInfoOnMount': false,
      'spec.storageCapacity': false,
      'spec.fsGroupPolicy': 'ReadWriteOnceWithFSType',
      'spec.volumeLifecycleModes': ['Persistent'],
      'spec.requiresRepublish': false,
      'spec.seLinuxMount': false,
    });
  },
  validate: (object) =>
    check(object, {
      'spec.fsGroupPolicy': oneOf('File', 'None', 'ReadWriteOnceWithFSType'),
      'spec.volumeLifecycleModes': eachOf('Persistent', 'Ephemeral'),
      'spec.tokenRequests': unique('audience'),
      'spec.tokenRequests[*].expirationSeconds': tokenLife,
    }),
  validateUpdate: immutable('spec.attachRequired', 'spec.volumeLifecycleModes'),
});

function tokenLife(value: unknown, field: string): FieldError[] {
  const seconds = Number(value);
  if (value === undefined) return [];
  if (seconds < SHORTEST_TOKEN) return [invalid(field, value, 'may not specify a duration less than 10 minutes')];
  if (seconds > LONGEST_TOKEN) return [invalid(field, value, 'may not specify a duration larger than 2^32 seconds')];
  return [];
}

/** Of a field that names a driver. */
export const driverName: Rule = (value, field) => {
  const name = String(value ?? '');
  if (name === '') return [required(field)];
  const problem = dnsSubdomainProblem(name.toLowerCase());
  return [
    ...(name.length > LONGEST_NAME ? [tooLong(field, LONGEST_NAME)] : []),
    ...(problem === undefined ? [] : [invalid(field, name, problem)]),
  ];
};
