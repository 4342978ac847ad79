import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { nodes } from './resources.ts';
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
  },
});

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
