/** The kinds of role-based access control. What they allow is decided elsewhere. */
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid, notSupported, required } from './field-errors.ts';
import type { ApiObject, KindDefinition } from './kind.ts';
import { clusterRoleBindings, clusterRoles, roleBindings, roles } from './resources.ts';
import { check, dnsSubdomain, labelSelector, pathSegment, present } from './rules.ts';
import type { ClusterRole, PolicyRule, RoleBinding, Subject } from './types/rbac.ts';
import { isDeepStrictEqual } from 'node:util';

const GROUP = 'rbac.authorization.k8s.io';
const createdColumn = column('Created At', 'string', (object) => object.metadata.creationTimestamp ?? '');

/** Their names are looked up, never made into a domain. */
const common = { nameRule: 'path-segment' as const };
const named = (types: string): string => `io.k8s.api.rbac.v1.${types}`;

export const roleKind = defineKind(roles, {
  ...common,
  schemaName: named('Role'),
  createOnUpdate: true,
  columns: [nameColumn, createdColumn],
  defaults: (object) => {
    object['rules'] ??= [];
  },
  validate: (object) => validateRules(object, true),
});

export const clusterRoleKind = defineKind(clusterRoles, {
  ...common,
  schemaName: named('ClusterRole'),
  createOnUpdate: true,
  columns: [nameColumn, createdColumn],
  defaults: (object) => {
    object['rules'] ??= [];
  },
  validate: (object) => {
    const { aggregationRule } = object as ClusterRole;
    const selectors = 'aggregationRule.clusterRoleSelectors';
    return [
      ...validateRules(object, false),
      ...(aggregationRule === undefined
        ? []
        : check(object, {
            [selectors]: present('at least one clusterRoleSelector required if aggregationRule is non-nil'),
            [`${selectors}[*]`]: labelSelector,
          })),
    ];
  },
});

export const roleBindingKind = binding(roleBindings, ['Role', 'ClusterRole']);
export const clusterRoleBindingKind = binding(clusterRoleBindings, ['ClusterRole']);

function binding(ref: typeof roleBindings | typeof clusterRoleBindings, kinds: string[]): KindDefinition {
  return defineKind(ref, {
    ...common,
    schemaName: named(ref.kind),
    createOnUpdate: true,
    columns: [
      nameColumn,
      column<RoleBinding>('Role', 'string', ({ roleRef }) => `${roleRef.kind}/${roleRef.name}`),
      ageColumn,
      column<RoleBinding>('Users', 'string', (one) => subjectsText(one, 'User'), { wide: true }),
      column<RoleBinding>('Groups', 'string', (one) => subjectsText(one, 'Group'), { wide: true }),
      column<RoleBinding>('ServiceAccounts', 'string', (one) => subjectsText(one, 'ServiceAccount'), { wide: true }),
    ],
    defaults: (object) => {
      const { roleRef, subjects } = object as unknown as Partial<RoleBinding>;
      if (roleRef !== undefined) roleRef.apiGroup ||= GROUP;
      for (const subject of subjects ?? [])
        if (!subject.apiGroup && (subject.kind === 'User' || subject.kind === 'Group')) subject.apiGroup = GROUP;
    },
    validate: (object) => {
      const { roleRef, subjects } = object as unknown as RoleBinding;
      const errors: FieldError[] = [];
      if (roleRef.apiGroup !== GROUP) errors.push(notSupported('roleRef.apiGroup', roleRef.apiGroup, [GROUP]));
      if (!kinds.includes(roleRef.kind)) errors.push(notSupported('roleRef.kind', roleRef.kind, kinds));
      errors.push(...check(object, { 'roleRef.name': [present(), pathSegment] }));
      return [
        ...errors,
        ...(subjects ?? []).flatMap((subject, index) => validateSubject(subject, `subjects[${index}]`, ref.namespaced)),
      ];
    },
    validateUpdate: (object, old) =>
      isDeepStrictEqual(object['roleRef'], old['roleRef'])
        ? []
        : [invalid('roleRef', object['roleRef'], 'cannot change roleRef')],
  });
}

function validateRules(object: ApiObject, namespaced: boolean): FieldError[] {
  return ((object['rules'] as PolicyRule[] | undefined) ?? []).flatMap((rule, index) => {
    const at = `rules[${index}]`;
    const errors: FieldError[] = [];
    if ((rule.verbs ?? []).length === 0) errors.push(required(`${at}.verbs`, 'verbs must contain at least one value'));
    if ((rule.nonResourceURLs ?? []).length > 0) {
      const text = namespaced
        ? 'namespaced rules cannot apply to non-resource URLs'
        : 'rules cannot apply to both regular resources and non-resource URLs';
      const both = [rule.apiGroups, rule.resources, rule.resourceNames].some((list) => (list ?? []).length > 0);
      if (namespaced || both) errors.push(invalid(`${at}.nonResourceURLs`, rule.nonResourceURLs, text));
      return errors;
    }
    if ((rule.apiGroups ?? []).length === 0)
      errors.push(required(`${at}.apiGroups`, 'resource rules must supply at least one api group'));
    if ((rule.resources ?? []).length === 0)
      errors.push(required(`${at}.resources`, 'resource rules must supply at least one resource'));
    return errors;
  });
}

function validateSubject(subject: Subject, at: string, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (!subject.name) errors.push(required(`${at}.name`));
  switch (subject.kind) {
    case 'ServiceAccount':
      if (subject.apiGroup) errors.push(notSupported(`${at}.apiGroup`, subject.apiGroup, ['']));
      errors.push(...check(subject, { name: dnsSubdomain }, at));
      if (!namespaced && !subject.namespace) errors.push(required(`${at}.namespace`));
      return errors;
    case 'User':
    case 'Group':
      if (subject.apiGroup !== GROUP) errors.push(notSupported(`${at}.apiGroup`, subject.apiGroup, [GROUP]));
      return errors;
    default:
      return [...errors, notSupported(`${at}.kind`, subject.kind, ['Group', 'ServiceAccount', 'User'])];
  }
}

function subjectsText({ subjects = [] }: RoleBinding, kind: string): string {
  return subjects
    .filter((subject) => subject.kind === kind)
    .map(({ name, namespace }) => (kind === 'ServiceAccount' && namespace ? `${namespace}/${name}` : name))
    .join(', ');
}
