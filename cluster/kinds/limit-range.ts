import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import { quantityValue } from './quantity.ts';
import { limitRanges } from './resources.ts';
import { check, present, qualifiedName, quantities, type Rule, setDefaults, unique } from './rules.ts';
import type { LimitRange, LimitRangeItem } from './types/core.ts';

const AMOUNTS = ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'] as const;
/** Of each resource, the first is never more than the second. */
const ORDER = [
  ['min', 'max', 'min value', 'max value', 'min'],
  ['min', 'defaultRequest', 'min value', 'default request value', 'defaultRequest'],
  ['defaultRequest', 'max', 'default request value', 'max value', 'defaultRequest'],
  ['defaultRequest', 'default', 'default request value', 'default limit value', 'defaultRequest'],
  ['min', 'default', 'min value', 'default value', 'default'],
  ['default', 'max', 'default value', 'max value', 'default'],
] as const;

export const limitRangeKind = defineKind(limitRanges, {
  schemaName: 'io.k8s.api.core.v1.LimitRange',
  createOnUpdate: true,
  shortNames: ['limits'],
  columns: [nameColumn, column('Created At', 'string', (object) => object.metadata.creationTimestamp ?? '')],
  defaults: (object) => {
    setDefaults(object, { spec: { limits: [] }, 'spec.limits': [] });
    for (const item of (object as LimitRange).spec?.limits ?? []) if (item.type === 'Container') defaultItem(item);
  },
  validate: (object) => [
    ...check(object, {
      'spec.limits[*].type': [present(), qualifiedName, itemType],
      'spec.limits': unique('type'),
      ...Object.fromEntries(AMOUNTS.map((name) => [`spec.limits[*].${name}`, quantities])),
    }),
    ...((object as LimitRange).spec?.limits ?? []).flatMap((item, index) =>
      validateItem(item, `spec.limits[${index}]`),
    ),
  ],
});

const itemType: Rule = (value, field) =>
  ['Pod', 'Container', 'PersistentVolumeClaim'].includes(String(value)) || String(value).includes('/')
    ? []
    : [invalid(field, value, 'must be a standard limit type or fully qualified')];

function defaultItem(item: LimitRangeItem): void {
  item.default = { ...item.max, ...item.default };
  item.defaultRequest = { ...item.min, ...item.default, ...item.defaultRequest };
}

function validateItem(item: LimitRangeItem, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if (item.type === 'Pod')
    for (const field of ['default', 'defaultRequest'] as const)
      if (Object.keys(item[field] ?? {}).length > 0)
        errors.push(forbidden(`${at}.${field}`, "may not be specified when `type` is 'Pod'"));
  if (
    item.type === 'PersistentVolumeClaim' &&
    item.min?.['storage'] === undefined &&
    item.max?.['storage'] === undefined
  )
    errors.push(
      required(`${at}.limits`, 'either minimum or maximum storage value is required, but neither was provided'),
    );
  const names = new Set(AMOUNTS.flatMap((field) => Object.keys(item[field] ?? {})));
  for (const name of names) {
    for (const [low, high, lowText, highText, field] of ORDER) {
      const [less, more] = [item[low]?.[name], item[high]?.[name]];
      if (less !== undefined && more !== undefined && quantityValue(less) > quantityValue(more))
        errors.push(
          invalid(
            `${at}.${field}[${name}]`,
            item[field]?.[name],
            `${lowText} ${less} is greater than ${highText} ${more}`,
          ),
        );
    }
    const ratio = item.maxLimitRequestRatio?.[name];
    if (ratio !== undefined && quantityValue(ratio) < 1)
      errors.push(invalid(`${at}.maxLimitRequestRatio[${name}]`, ratio, `ratio ${ratio} is less than 1`));
  }
  return errors;
}
