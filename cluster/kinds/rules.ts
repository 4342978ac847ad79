/** Rules, defaults and immutability of fields as data: a path and what holds there. `spec.ports[*].port` is each port's. */
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import type { ApiObject } from './kind.ts';
import {
  dns1035Problem,
  dnsLabelProblem,
  dnsSubdomainProblem,
  labelValueProblem,
  qualifiedNameProblem,
  segmentProblem,
  validateLabels,
} from './names.ts';
import { quantityProblem } from './quantity.ts';
import { labelSelectorProblems } from './selector.ts';
import type { LabelSelector } from './types/meta.ts';

/** What is wrong with a field's value. `undefined` is an absent field, which only `present` minds. */
export type Rule = (value: unknown, field: string) => FieldError[];

/** Wherever a path's parent is there, its rules are asked; the order of the errors is that of the rules. */
export function check(object: object, rules: Readonly<Record<string, Rule | readonly Rule[]>>, at = ''): FieldError[] {
  return Object.entries(rules).flatMap(([path, some]) =>
    places(object, path, at).flatMap(({ value, field }) => {
      for (const rule of Array.isArray(some) ? (some as Rule[]) : [some as Rule]) {
        const errors = rule(value, field);
        if (errors.length > 0) return errors;
      }
      return [];
    }),
  );
}

/** Where a path's parent is there and the field is not, it gets the value. */
export function setDefaults(object: object, defaults: Readonly<Record<string, unknown>>): void {
  for (const [path, value] of Object.entries(defaults))
    for (const { parent, key, value: now } of places(object, path, ''))
      if (now === undefined) parent[key] = structuredClone(value);
}

/** For `validateUpdate`: of these fields nothing changes. */
export function immutable(...paths: string[]): (object: ApiObject, old: ApiObject) => FieldError[] {
  return (object, old) =>
    paths.flatMap((path) => {
      const [now, before] = [at(object, path), at(old, path)];
      return isDeepStrictEqual(now, before) ? [] : [invalid(path, now ?? null, 'field is immutable')];
    });
}

/** The same, where upstream forbids it in words of its own. */
export function frozen(texts: Readonly<Record<string, string>>): (object: ApiObject, old: ApiObject) => FieldError[] {
  return (object, old) =>
    Object.entries(texts).flatMap(([path, text]) =>
      isDeepStrictEqual(at(object, path), at(old, path)) ? [] : [forbidden(path, text)],
    );
}

export function present(detail = ''): Rule {
  return (value, field) => (isEmpty(value) ? [required(field, detail)] : []);
}

export function oneOf(...supported: string[]): Rule {
  return (value, field) =>
    value === undefined || supported.includes(String(value)) ? [] : [notSupported(field, value, supported)];
}

/** Each of a list is one of these. */
export function eachOf(...supported: string[]): Rule {
  return (value, field) =>
    (Array.isArray(value) ? value : []).flatMap((one: unknown, index) =>
      supported.includes(String(one)) ? [] : [notSupported(`${field}[${index}]`, one, supported)],
    );
}

export const nonNegative: Rule = number((value) => value >= 0, 'must be greater than or equal to 0');

export function between(low: number, high: number): Rule {
  return number((value) => value >= low && value <= high, `must be between ${low} and ${high}, inclusive`);
}

export function atMost(high: number): Rule {
  return number((value) => value <= high, `must be less than or equal to ${high}`);
}

function number(holds: (value: number) => boolean, text: string): Rule {
  return (value, field) => (value === undefined || holds(Number(value)) ? [] : [invalid(field, value, text)]);
}

export const port: Rule = between(1, 65535);
export const dnsLabel: Rule = named(dnsLabelProblem);
export const dnsSubdomain: Rule = named(dnsSubdomainProblem);
export const dns1035Label: Rule = named(dns1035Problem);
export const qualifiedName: Rule = named(qualifiedNameProblem);
export const labelValue: Rule = named(labelValueProblem);
export const pathSegment: Rule = named(segmentProblem);

export const labels: Rule = (value, field) => validateLabels(value as Record<string, string> | undefined, field);

function named(problemOf: (text: string) => string | undefined): Rule {
  return (value, field) => {
    const problem = isEmpty(value) ? undefined : problemOf(String(value));
    return problem === undefined ? [] : [invalid(field, value, problem)];
  };
}

/** A whole number of 0 or more, or a percentage. */
export const countOrPercent: Rule = (value, field) => {
  if (value === undefined) return [];
  if (typeof value === 'number') return nonNegative(value, field);
  return /^\d+%$/.test(String(value))
    ? []
    : [
        invalid(
          field,
          value,
          "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
      ];
};

export function atMostHundredPercent(value: unknown, field: string): FieldError[] {
  return typeof value === 'string' && Number.parseInt(value, 10) > 100
    ? [invalid(field, value, 'must not be greater than 100%')]
    : [];
}

/** Not negative. */
export const quantity: Rule = (value, field) => {
  if (value === undefined) return [];
  const text = String(value);
  const problem = quantityProblem(text) ?? (text.startsWith('-') ? 'must be greater than or equal to 0' : undefined);
  return problem === undefined ? [] : [invalid(field, value, problem)];
};

/** A map of quantities, none of them negative. */
export const quantities: Rule = (value, field) =>
  Object.entries((value ?? {}) as Record<string, string>).flatMap(([name, one]) => quantity(one, `${field}[${name}]`));

export const labelSelector: Rule = (value, field) =>
  value === undefined ? [] : labelSelectorProblems(value as LabelSelector, field);

/** No two items of a list have the same value of this field. */
export function unique(key: string): Rule {
  return (value, field) => {
    const seen = new Set<unknown>();
    return (Array.isArray(value) ? value : []).flatMap((item: Record<string, unknown>, index) => {
      const own = item[key];
      if (own !== undefined && seen.has(own)) return [duplicate(`${field}[${index}].${key}`, own)];
      seen.add(own);
      return [];
    });
  };
}

interface Place {
  parent: Record<string, unknown>;
  key: string;
  value: unknown;
  field: string;
}

function places(object: object, path: string, prefix: string): Place[] {
  let parents: { value: unknown; field: string }[] = [{ value: object, field: prefix }];
  const steps = path.split('.');
  for (const [index, step] of steps.entries()) {
    const each = step.endsWith('[*]');
    const key = each ? step.slice(0, -3) : step;
    const found = parents.flatMap(({ value, field }): Place[] => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
      const parent = value as Record<string, unknown>;
      return [
        {
          parent,
          key,
          value: Object.hasOwn(parent, key) ? parent[key] : undefined,
          field: field === '' ? key : `${field}.${key}`,
        },
      ];
    });
    if (index === steps.length - 1 && !each) return found;
    parents = each
      ? found.flatMap(({ value, field }) =>
          (Array.isArray(value) ? value : []).map((item: unknown, at) => ({ value: item, field: `${field}[${at}]` })),
        )
      : found;
    if (index === steps.length - 1) return parents.map(({ value, field }) => ({ parent: {}, key: '', value, field }));
  }
  return [];
}

function at(object: object, path: string): unknown {
  return places(object, path, '')[0]?.value;
}

function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return value === undefined || value === '';
}
