/** Label and field selectors in their string form, and label selectors as objects (Kubernetes "Labels and Selectors"). */
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import { labelValueProblem, qualifiedNameProblem, validateLabels } from './names.ts';
import type { LabelSelector } from './types/meta.ts';

export interface Requirement {
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'GreaterThan' | 'LessThan';
  values: string[];
}

export class SelectorError extends Error {
  readonly code = 'selector-invalid';
  constructor(message: string) {
    super(message);
    this.name = 'SelectorError';
  }
}

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`; empty text selects all. Throws `SelectorError`. */
export function parseLabelSelector(text: string): Requirement[] {
  const requirements: Requirement[] = [];
  for (const part of splitOutsideParentheses(text)) {
    if (part === '') {
      if (text.trim() === '') continue;
      throw new SelectorError(`unable to parse requirement: found ',', expected: identifier in "${text}"`);
    }
    requirements.push(checked(parsePart(part)));
  }
  return requirements;
}

function splitOutsideParentheses(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') depth++;
    else if (text[at] === ')') depth--;
    else if (text[at] === ',' && depth === 0) {
      parts.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}

function parsePart(part: string): Requirement {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part);
  if (set !== null) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim());
    return { key: set[1] ?? '', operator: set[2] === 'in' ? 'In' : 'NotIn', values };
  }
  const compare = /^([^\s=!<>]+)\s*(==|=|!=|>|<)\s*([^\s=!<>]*)$/.exec(part);
  if (compare !== null) {
    const operators = { '=': 'In', '==': 'In', '!=': 'NotIn', '>': 'GreaterThan', '<': 'LessThan' } as const;
    return {
      key: compare[1] ?? '',
      operator: operators[compare[2] as keyof typeof operators],
      values: [compare[3] ?? ''],
    };
  }
  if (part.startsWith('!')) return { key: part.slice(1).trim(), operator: 'DoesNotExist', values: [] };
  return { key: part, operator: 'Exists', values: [] };
}

/** Throws what upstream's `labels.NewRequirement` says of it. */
function checked(requirement: Requirement): Requirement {
  const { key, operator, values } = requirement;
  const wrong = qualifiedNameProblem(key);
  const problems = wrong === undefined ? [] : [`key: Invalid value: "${key}": ${wrong}`];
  if (operator === 'GreaterThan' || operator === 'LessThan')
    for (const [at, value] of values.entries())
      if (integerOf(value) === undefined)
        problems.push(
          `values[${at}]: Invalid value: "${value}": for 'Gt', 'Lt' operators, the value must be an integer`,
        );
  for (const [at, value] of values.entries()) {
    const problem = labelValueProblem(value);
    if (problem !== undefined) problems.push(`values[${at}][${key}]: Invalid value: "${value}": ${problem}`);
  }
  if (problems.length === 0) return requirement;
  const text = problems.length === 1 ? problems[0] : `[${problems.join(', ')}]`;
  throw new SelectorError(`unable to parse requirement: ${text}`);
}

export function matchesLabels(requirements: Requirement[], labels: Record<string, string> | undefined): boolean {
  return requirements.every((requirement) => matchesRequirement(requirement, labels));
}

export function matchesRequirement(
  { key, operator, values }: Requirement,
  labels: Record<string, string> | undefined,
): boolean {
  const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'GreaterThan':
      return (compare(value, values) ?? 0) > 0;
    case 'LessThan':
      return (compare(value, values) ?? 0) < 0;
  }
}

const greatestInteger = 2n ** 63n - 1n;

/** A number of 64 bits, as `strconv.ParseInt` reads it; what has a sign can be no label's value. Undefined for anything else. */
function integerOf(text: string): bigint | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const value = BigInt(text);
  return value > greatestInteger ? undefined : value;
}

/** Greater or less than 0 as the value is than the one limit; undefined where one of them is no number. */
function compare(value: string | undefined, [limit, ...others]: string[]): number | undefined {
  if (value === undefined || limit === undefined || others.length > 0) return undefined;
  const [a, b] = [integerOf(value), integerOf(limit)];
  if (a === undefined || b === undefined) return undefined;
  return a > b ? 1 : a < b ? -1 : 0;
}

/** An object form's requirements. An empty selector selects all; an absent one nothing (the caller's to know). */
export function labelSelectorRequirements(selector: LabelSelector): Requirement[] {
  const requirements: Requirement[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    requirements.push({ key, operator: 'In', values: [value] });
  for (const expression of selector.matchExpressions ?? [])
    requirements.push({
      key: expression.key,
      operator: expression.operator as Requirement['operator'],
      values: expression.values ?? [],
    });
  return requirements;
}

/** What is wrong with the object form. */
export function labelSelectorProblems(selector: LabelSelector, at: string): FieldError[] {
  const errors = validateLabels(selector.matchLabels, `${at}.matchLabels`);
  for (const [index, { key, operator, values }] of (selector.matchExpressions ?? []).entries()) {
    const field = `${at}.matchExpressions[${index}]`;
    const problem = qualifiedNameProblem(key);
    if (operator === 'In' || operator === 'NotIn') {
      if ((values ?? []).length === 0)
        errors.push(required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if ((values ?? []).length > 0)
        errors.push(forbidden(`${field}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    } else errors.push(invalid(`${field}.operator`, operator, 'not a valid selector operator'));
    if (problem !== undefined) errors.push(invalid(`${field}.key`, key, problem));
    for (const [at, value] of (values ?? []).entries()) {
      const wrong = labelValueProblem(value);
      if (wrong !== undefined) errors.push(invalid(`${field}.values[${at}]`, value, wrong));
    }
  }
  return errors;
}

export function matchesLabelSelector(selector: LabelSelector, labels: Record<string, string> | undefined): boolean {
  return matchesLabels(labelSelectorRequirements(selector), labels);
}

/** The string form, keys in order, as `kubectl get -o wide` shows it. */
export function formatLabelSelector(selector: LabelSelector | undefined): string {
  if (selector === undefined) return '<none>';
  const labels = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({ key, text: `${key}=${value}` }));
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) => {
    if (operator === 'Exists') return { key, text: key };
    if (operator === 'DoesNotExist') return { key, text: `!${key}` };
    const list = (values ?? []).toSorted().join(',');
    return { key, text: `${key} ${operator === 'In' ? 'in' : 'notin'} (${list})` };
  });
  const parts = [...labels, ...expressions]
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ text }) => text);
  return parts.length === 0 ? '<none>' : parts.join(',');
}

export interface FieldRequirement {
  path: string;
  equals: boolean;
  value: string;
}

/** `metadata.name=x,status.phase!=Running`. A comma, equals sign or backslash in a value is escaped by a backslash. */
export function parseFieldSelector(text: string): FieldRequirement[] {
  if (text === '') return [];
  return text.split(/(?<!\\),/).flatMap((part) => {
    if (part === '') return [];
    const match = /^([^=!]+?)(!=|==|=)(.*)$/s.exec(part);
    if (match === null) throw new SelectorError(`invalid selector: '${text}'; can't understand '${part}'`);
    const value = (match[3] ?? '').replace(/\\([\\,=])/g, '$1');
    return [{ path: (match[1] ?? '').trim(), equals: match[2] !== '!=', value }];
  });
}

export function matchesFields(requirements: FieldRequirement[], fields: Record<string, string>): boolean {
  return requirements.every(({ path, equals, value }) => ((fields[path] ?? '') === value) === equals);
}
