import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { required } from './field-errors.ts';
import { endpoints } from './resources.ts';
import { check, dnsLabel, dnsSubdomain, oneOf, port, qualifiedName, type Rule, setDefaults } from './rules.ts';
import { validateAddress } from './special-addresses.ts';
import type { EndpointPort, Endpoints } from './types/core.ts';

const SHOWN = 3;

/** One of several ports is known by its name. */
const named: Rule = (value, field) => {
  const ports = (value ?? []) as EndpointPort[];
  return ports.flatMap(({ name }, index) => (ports.length > 1 && !name ? [required(`${field}[${index}].name`)] : []));
};

const address: Rule = (value, field) => validateAddress(String(value), field);

export const endpointsKind = defineKind(endpoints, {
  schemaName: 'io.k8s.api.core.v1.Endpoints',
  createOnUpdate: true,
  shortNames: ['ep'],
  singular: 'endpoints',
  listKind: 'EndpointsList',
  columns: [nameColumn, column<Endpoints>('Endpoints', 'string', addressesText), ageColumn],
  defaults: (object) => setDefaults(object, { 'subsets[*].ports[*].protocol': 'TCP' }),
  validate: (object) => [
    ...((object as Endpoints).subsets ?? []).flatMap((subset, index) =>
      (subset.addresses ?? []).length + (subset.notReadyAddresses ?? []).length === 0
        ? [required(`subsets[${index}]`, 'must specify `addresses` or `notReadyAddresses`')]
        : [],
    ),
    ...check(object, {
      'subsets[*].addresses[*].ip': address,
      'subsets[*].notReadyAddresses[*].ip': address,
      'subsets[*].addresses[*].hostname': dnsLabel,
      'subsets[*].addresses[*].nodeName': dnsSubdomain,
      'subsets[*].ports': named,
      'subsets[*].ports[*].name': dnsLabel,
      'subsets[*].ports[*].appProtocol': qualifiedName,
      'subsets[*].ports[*].port': port,
      'subsets[*].ports[*].protocol': oneOf('SCTP', 'TCP', 'UDP'),
    }),
  ],
});

function addressesText({ subsets = [] }: Endpoints): string {
  if (subsets.length === 0) return '<none>';
  const all = subsets.flatMap(({ addresses = [], ports = [] }) => {
    const hosts = addresses.map(({ ip }) => ip);
    if (ports.length === 0) return hosts;
    return ports.flatMap((one) => hosts.map((host) => `${host.includes(':') ? `[${host}]` : host}:${one.port}`));
  });
  const shown = all.slice(0, SHOWN).join(',');
  return all.length > SHOWN ? `${shown} + ${all.length - SHOWN} more...` : shown;
}
