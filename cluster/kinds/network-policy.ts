import { isIP } from 'node:net';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import { dns1035Problem } from './names.ts';
import { networkPolicies } from './resources.ts';
import { between, check, eachOf, labelSelector, oneOf, type Rule, setDefaults } from './rules.ts';
import { formatLabelSelector } from './selector.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from './types/networking.ts';

export const networkPolicyKind = defineKind(networkPolicies, {
  schemaName: 'io.k8s.api.networking.v1.NetworkPolicy',
  shortNames: ['netpol'],
  generation: true,
  columns: [
    nameColumn,
    column<NetworkPolicy>('Pod-Selector', 'string', (policy) => formatLabelSelector(policy.spec?.podSelector)),
    ageColumn,
  ],
  defaults: (object) => {
    setDefaults(object, {
      spec: {},
      'spec.podSelector': {},
      'spec.ingress[*].ports[*].protocol': 'TCP',
      'spec.egress[*].ports[*].protocol': 'TCP',
    });
    const { spec } = object as NetworkPolicy;
    if (spec !== undefined && (spec.policyTypes ?? []).length === 0)
      spec.policyTypes = (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
  },
  validate: (object) =>
    check(object, {
      'spec.podSelector': labelSelector,
      'spec.ingress[*].ports[*]': portRule,
      'spec.ingress[*].from[*]': peerRule,
      'spec.egress[*].ports[*]': portRule,
      'spec.egress[*].to[*]': peerRule,
      'spec.policyTypes': [
        (value, field) =>
          Array.isArray(value) && value.length > 2
            ? [invalid(field, value, 'may not specify more than two policyTypes')]
            : [],
        eachOf('Egress', 'Ingress'),
      ],
    }),
});

const range: Rule = between(1, 65535);

function portRule(value: unknown, field: string): FieldError[] {
  const { protocol, port, endPort } = value as NetworkPolicyPort;
  const errors = oneOf('SCTP', 'TCP', 'UDP')(protocol, `${field}.protocol`);
  if (typeof port === 'string') {
    const problem = dns1035Problem(port);
    if (problem !== undefined) errors.push(invalid(`${field}.port`, port, problem));
  } else errors.push(...range(port, `${field}.port`));
  if (endPort === undefined) return errors;
  if (port === undefined) errors.push(required(`${field}.port`, 'must be specified'));
  else if (typeof port === 'string')
    errors.push(invalid(`${field}.endPort`, endPort, 'may not be specified when `port` is non-numeric'));
  else if (endPort < port) errors.push(invalid(`${field}.endPort`, endPort, 'must be greater than or equal to `port`'));
  return [...errors, ...range(endPort, `${field}.endPort`)];
}

function peerRule(value: unknown, field: string): FieldError[] {
  const { podSelector, namespaceSelector, ipBlock } = value as NetworkPolicyPeer;
  const errors = [
    ...labelSelector(podSelector, `${field}.podSelector`),
    ...labelSelector(namespaceSelector, `${field}.namespaceSelector`),
  ];
  const selects = podSelector !== undefined || namespaceSelector !== undefined;
  if (ipBlock === undefined) return selects ? errors : [...errors, required(field, 'must specify a peer')];
  if (selects) errors.push(forbidden(field, 'may not specify both ipBlock and another peer'));
  if (ipBlock.cidr === '') errors.push(required(`${field}.ipBlock.cidr`));
  else if (!isCidr(ipBlock.cidr)) errors.push(notCidr(`${field}.ipBlock.cidr`, ipBlock.cidr));
  for (const [index, except] of (ipBlock.except ?? []).entries())
    if (!isCidr(except)) errors.push(notCidr(`${field}.ipBlock.except[${index}]`, except));
  return errors;
}

function isCidr(text: string): boolean {
  const [address = '', bits = '', ...more] = text.split('/');
  const family = isIP(address);
  return more.length === 0 && family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
}

function notCidr(field: string, value: string): FieldError {
  return invalid(field, value, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)');
}
