/** Cloud Foundry's `label_selector`: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined by commas. */
import { CloudFoundryError } from './errors.ts';

export interface LabelRequirement {
  key: string;
  operator: 'in' | 'notin' | 'exists' | 'missing';
  values: string[];
}

const KEY = String.raw`[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?`;
const VALUE = String.raw`[A-Za-z0-9._-]*`;
const SET = new RegExp(String.raw`^(${KEY})\s+(in|notin)\s*\(([^)]*)\)$`);
const EQUAL = new RegExp(String.raw`^(${KEY})\s*(==|=|!=)\s*(${VALUE})$`);
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);

export function parseLabelSelector(selector: string): LabelRequirement[] {
  return splitOutsideParentheses(selector).map((part) => {
    const set = SET.exec(part);
    if (set) {
      const [, key = '', operator = '', values = ''] = set;
      return { key, operator: operator === 'in' ? 'in' : 'notin', values: values.split(',').map((v) => v.trim()) };
    }
    const equal = EQUAL.exec(part);
    if (equal) {
      const [, key = '', operator = '', value = ''] = equal;
      return { key, operator: operator === '!=' ? 'notin' : 'in', values: [value] };
    }
    const exists = EXISTS.exec(part);
    if (exists) return { key: exists[2] ?? '', operator: exists[1] === '!' ? 'missing' : 'exists', values: [] };
    throw new CloudFoundryError(
      'BadQueryParameter',
      `The query parameter is invalid: Label selector "${part}" is not understood`,
    );
  });
}

export function matchesLabels(requirements: LabelRequirement[], labels: Record<string, string>): boolean {
  return requirements.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (operator === 'exists') return value !== undefined;
    if (operator === 'missing') return value === undefined;
    const among = value !== undefined && values.includes(value);
    return operator === 'in' ? among : !among;
  });
}

function splitOutsideParentheses(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
