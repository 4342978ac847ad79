import { isIP } from 'node:net';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid, notSupported, required } from './field-errors.ts';
import { dnsSubdomainProblem } from './names.ts';
import { endpointSlices } from './resources.ts';
import { check, dnsLabel, dnsSubdomain, labelValue, oneOf, qualifiedName, unique } from './rules.ts';
import { validateAddress } from './special-addresses.ts';
import type { EndpointSlice } from './types/discovery.ts';

const ADDRESS_TYPES = ['IPv4', 'IPv6', 'FQDN'];
const ENDPOINTS_LIMIT = 1000;

export const endpointSliceKind = defineKind(endpointSlices, {
  schemaName: 'io.k8s.api.discovery.v1.EndpointSlice',
  generation: true,
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
      const field = `endpoints[${index}].addresses`;
      if (!Array.isArray(endpoint.addresses) || endpoint.addresses.length === 0)
        errors.push(required(field, 'must contain at least 1 address'));
      else errors.push(...addressErrors(slice.addressType, endpoint.addresses, field));
    }
    return [
      ...errors,
      ...check(object, {
        'endpoints[*].hostname': dnsLabel,
        'endpoints[*].nodeName': dnsSubdomain,
        'endpoints[*].hints.forZones': unique('name'),
        'endpoints[*].hints.forZones[*].name': labelValue,
        ports: unique('name'),
        'ports[*].name': dnsLabel,
        'ports[*].protocol': oneOf('SCTP', 'TCP', 'UDP'),
        'ports[*].appProtocol': qualifiedName,
      }),
    ];
  },
  warnings: (object, old) =>
    old === undefined && object['addressType'] === 'FQDN' ? ['spec.addressType: FQDN endpoints are deprecated'] : [],
  validateUpdate: (object, old) =>
    object['addressType'] === old['addressType']
      ? []
      : [invalid('addressType', object['addressType'], 'field is immutable')],
});

function addressErrors(type: string, addresses: string[], field: string): FieldError[] {
  return addresses.flatMap((address, index) => {
    const at = `${field}[${index}]`;
    if (type === 'FQDN') {
      const problem = dnsSubdomainProblem(address);
      return problem === undefined ? [] : [invalid(at, address, problem)];
    }
    if (isIP(address) !== (type === 'IPv4' ? 4 : 6)) return [invalid(at, address, `must be a valid ${type} address`)];
    return validateAddress(address, at);
  });
}

function shorten(values: string[]): string {
  if (values.length === 0) return '<unset>';
  const shown = values.slice(0, 3).join(',');
  return values.length > 3 ? `${shown} + ${values.length - 3} more...` : shown;
}
