import { ageColumn, column, nameColumn } from './columns.ts';
import { isDeepStrictEqual } from 'node:util';
import { parseIpRange } from '#lib/ip-range.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid } from './field-errors.ts';
import { nodes } from './resources.ts';
import { validateTaints } from './scheduling-validate.ts';
import type { Node } from './types/core.ts';

const ROLE = 'node-role.kubernetes.io/';

export const nodeKind = defineKind(nodes, {
  schemaName: 'io.k8s.api.core.v1.Node',
  shortNames: ['no'],
  subresources: { status: true },
  columns: [
    nameColumn,
    column<Node>('Status', 'string', statusText, { description: 'Is it ready, and does it take pods?' }),
    column<Node>('Roles', 'string', rolesText, { description: 'From its node-role.kubernetes.io labels.' }),
    ageColumn,
    column<Node>('Version', 'string', (node) => node.status?.nodeInfo?.kubeletVersion ?? ''),
    column<Node>('Internal-IP', 'string', (node) => address(node, 'InternalIP'), { wide: true }),
    column<Node>('External-IP', 'string', (node) => address(node, 'ExternalIP'), { wide: true }),
    column<Node>('OS-Image', 'string', (node) => node.status?.nodeInfo?.osImage ?? '<unknown>', { wide: true }),
    column<Node>('Kernel-Version', 'string', (node) => node.status?.nodeInfo?.kernelVersion ?? '<unknown>', {
      wide: true,
    }),
    column<Node>(
      'Container-Runtime',
      'string',
      (node) => node.status?.nodeInfo?.containerRuntimeVersion ?? '<unknown>',
      { wide: true },
    ),
  ],
  selectableFields: { 'spec.unschedulable': (object) => String((object as Node).spec?.unschedulable ?? false) },
  defaults: (object) => {
    const node = object as Node;
    node.spec ??= {};
    node.status ??= {};
    if (node.status.capacity !== undefined) node.status.allocatable ??= { ...node.status.capacity };
    // One range under its old and its new name.
    if (node.spec.podCIDR) node.spec.podCIDRs ??= [node.spec.podCIDR];
    else if (node.spec.podCIDRs?.[0] !== undefined) node.spec.podCIDR = node.spec.podCIDRs[0];
  },
  validate: (object) => {
    const { podCIDR, podCIDRs = [] } = (object as Node).spec ?? {};
    const errors: FieldError[] = podCIDRs
      .filter((range) => !isRange(range))
      .map((range) => invalid(`spec.podCIDRs[${podCIDRs.indexOf(range)}]`, range, 'must be a valid CIDR value'));
    const families = new Set(podCIDRs.map((range) => (range.includes(':') ? 6 : 4)));
    if (podCIDRs.length > families.size)
      errors.push(invalid('spec.podCIDRs', podCIDRs, 'may specify no more than one CIDR for each IP family'));
    if (podCIDR !== undefined && podCIDR !== (podCIDRs[0] ?? ''))
      errors.push(invalid('spec.podCIDRs[0]', podCIDRs[0] ?? '', 'must match `podCIDR`'));
    return [...errors, ...validateTaints((object as Node).spec?.taints, 'metadata.taints')];
  },
  warnings: (object) => {
    const { configSource, externalID } = (object as Node).spec ?? {};
    return [
      ...(configSource === undefined ? [] : ['spec.configSource: the feature is removed']),
      ...(externalID ? ['spec.externalID: this field is deprecated, and is unused by Kubernetes'] : []),
    ];
  },
  validateUpdate: (object, old) => {
    const before = (old as Node).spec?.podCIDRs ?? [];
    const now = (object as Node).spec?.podCIDRs ?? [];
    // One of the other family may come to it, which upstream's take a new Node for: a cluster becomes dual-stack as it is.
    const errors: FieldError[] = [];
    if (!isDeepStrictEqual(now.slice(0, before.length), before))
      errors.push(forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'));
    const provider = (old as Node).spec?.providerID ?? '';
    if (provider !== '' && (object as Node).spec?.providerID !== provider)
      errors.push(forbidden('spec.providerID', 'node updates may not change providerID except from "" to valid'));
    return errors;
  },
});

/** As the first address of the range and its length. */
function isRange(text: string): boolean {
  const [range, first] = [parseIpRange(text), parseIpRange(text.split('/')[0] ?? '')];
  return range !== undefined && text.includes('/') && range.bits >= 8 && range.base === first?.base;
}

function statusText(node: Node): string {
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
  if (node.spec?.unschedulable === true) words.push('SchedulingDisabled');
  return words.join(',');
}

function rolesText(node: Node): string {
  const roles = Object.entries(node.metadata.labels ?? {}).flatMap(([key, value]) => {
    if (key.startsWith(ROLE)) return key.length > ROLE.length ? [key.slice(ROLE.length)] : [];
    return key === 'kubernetes.io/role' && value !== '' ? [value] : [];
  });
  return roles.length === 0 ? '<none>' : [...new Set(roles)].sort().join(',');
}

function address(node: Node, type: string): string {
  return node.status?.addresses?.find((one) => one.type === type)?.address ?? '<none>';
}
