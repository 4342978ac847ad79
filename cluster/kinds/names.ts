/** The grammar of names, labels and the like (Kubernetes "Object Names and IDs", RFC 1035, RFC 1123). */
import type { FieldError } from './field-error.ts';
import { invalid, tooLong } from './field-errors.ts';

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const CONFIG_KEY = /^[-._a-zA-Z0-9]+$/;

const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035_TEXT =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const QUALIFIED_TEXT =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_TEXT =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const EMPTY_TEXT = 'must be non-empty';

/** What is wrong with a name, or undefined. */
export function dnsLabelProblem(name: string): string | undefined {
  return dnsLabelProblems(name)[0];
}

/** Everything that is wrong with it, as of each of the following. */
export function dnsLabelProblems(name: string): string[] {
  return problemsOf(name, 63, LABEL, LABEL_TEXT);
}

export function dns1035Problem(name: string): string | undefined {
  return problemsOf(name, 63, LABEL_1035, LABEL_1035_TEXT)[0];
}

export function dnsSubdomainProblem(name: string): string | undefined {
  return dnsSubdomainProblems(name)[0];
}

export function dnsSubdomainProblems(name: string): string[] {
  return problemsOf(name, 253, SUBDOMAIN, SUBDOMAIN_TEXT);
}

function problemsOf(text: string, limit: number, grammar: RegExp, description: string): string[] {
  return [
    ...(text.length > limit ? [`must be no more than ${limit} characters`] : []),
    ...(grammar.test(text) ? [] : [description]),
  ];
}

/** Of what stands in a path of the API. */
export function segmentProblem(name: string): string | undefined {
  if (name === '.' || name === '..') return `may not be '${name}'`;
  const part = ['/', '%'].find((one) => name.includes(one));
  return part === undefined ? undefined : `may not contain '${part}'`;
}

function pathSegmentProblem(name: string): string | undefined {
  // The store's keys are printable ASCII.
  const isPrintable = /^[\x21-\x7e]{1,253}$/.test(name);
  return (
    segmentProblem(name) ?? (isPrintable ? undefined : 'must be 1 to 253 printable ASCII characters without spaces')
  );
}

export type NameRule = 'dns-label' | 'dns-subdomain' | 'path-segment';

export function nameProblems(rule: NameRule, name: string): string[] {
  if (rule === 'dns-label') return dnsLabelProblems(name);
  if (rule === 'dns-subdomain') return dnsSubdomainProblems(name);
  const problem = pathSegmentProblem(name);
  return problem === undefined ? [] : [problem];
}

/** A label's or annotation's key: an optional DNS prefix and a name of 63 characters. */
export function qualifiedNameProblem(key: string): string | undefined {
  return qualifiedNameProblems(key)[0];
}

export function qualifiedNameProblems(key: string): string[] {
  const parts = key.split('/');
  if (parts.length > 2)
    return [
      `a qualified name ${QUALIFIED_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  const [name = '', prefix] = parts.toReversed();
  const ofPrefix = prefix === undefined ? [] : prefix === '' ? [EMPTY_TEXT] : dnsSubdomainProblems(prefix);
  return [
    ...ofPrefix.map((problem) => `prefix part ${problem}`),
    ...[...(name === '' ? [EMPTY_TEXT] : []), ...problemsOf(name, 63, QUALIFIED, QUALIFIED_TEXT)].map(
      (problem) => `name part ${problem}`,
    ),
  ];
}

export function labelValueProblem(value: string): string | undefined {
  return labelValueProblems(value)[0];
}

function labelValueProblems(value: string): string[] {
  return problemsOf(value, 63, LABEL_VALUE, LABEL_VALUE_TEXT);
}

export function validateLabels(labels: Record<string, string> | undefined, field: string): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => [
    ...qualifiedNameProblems(key).map((problem) => invalid(field, key, problem)),
    ...labelValueProblems(value).map((problem) => invalid(field, value, problem)),
  ]);
}

/** Keys of a ConfigMap's or Secret's data. */
export function validateDataKeys(data: Record<string, unknown> | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const key of Object.keys(data ?? {})) {
    if (key.length > 253) errors.push(tooLong(`${field}[${key.slice(0, 64)}…]`, 253));
    else if (!CONFIG_KEY.test(key) || key === '.' || key === '..')
      errors.push(
        invalid(
          `${field}[${key}]`,
          key,
          "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ),
      );
  }
  return errors;
}
