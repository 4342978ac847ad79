import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid, notSupported, required } from './field-errors.ts';
import { endpointSlices } from './resources.ts';
import type { EndpointSlice } from './types/discovery.ts';

const ADDRESS_TYPES = ['IPv4', 'IPv6', 'FQDN'];
const ENDPOINTS_LIMIT = 1000;

export const endpointSliceKind = defineKind(endpointSlices, {
  schemaName: 'io.k8s.api.discovery.v1.EndpointSlice',
  columns: [
    nameColumn,
    column<EndpointSlice>('AddressType', 'string', (slice) => slice.addressType),
    column<EndpointSlice>('Ports', 'string', (slice) =>
      shorten((slice.ports ?? []).map((port) => String(port.port ?? '*'))),
    ),
    column<EndpointSlice>('Endpoints', 'string', (slice) =>
      shorten((slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses)),
    ),
    ageColumn,
  ],
  defaults: (object) => {
    const slice = object as unknown as EndpointSlice;
    slice.endpoints ??= [];
    for (const port of slice.ports ?? []) {
      port.name ??= '';
      port.protocol ??= 'TCP';
    }
  },
  validate: (object) => {
    const slice = object as unknown as EndpointSlice;
    const errors: FieldError[] = [];
    if (!ADDRESS_TYPES.includes(slice.addressType))
      errors.push(notSupported('addressType', slice.addressType, ADDRESS_TYPES));
    if (slice.endpoints.length > ENDPOINTS_LIMIT)
      errors.push(invalid('endpoints', slice.endpoints.length, `must have at most ${ENDPOINTS_LIMIT} items`));
    for (const [index, endpoint] of slice.endpoints.entries()) {
      if (!Array.isArray(endpoint.addresses) || endpoint.addresses.length === 0)
        errors.push(required(`endpoints[${index}].addresses`, 'must contain at least 1 address'));
    }
    return errors;
  },
  validateUpdate: (object, old) =>
    object['addressType'] === old['addressType']
      ? []
      : [invalid('addressType', object['addressType'], 'field is immutable')],
});

function shorten(values: string[]): string {
  if (values.length === 0) return '<unset>';
  const shown = values.slice(0, 3).join(',');
  return values.length > 3 ? `${shown} + ${values.length - 3} more...` : shown;
}
