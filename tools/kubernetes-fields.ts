/**
 * What is said of every field of the API (`kubernetes-fields/`, a file for each group, by the names of its types): supported, and by which test; or
 * accepted or refused, and why. And whether that is everything: see `fieldProblems`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { builtinKinds } from '../cluster/kinds/builtin.ts';
import { definitions, refName, type Schema, schemaOf } from '../cluster/kinds/schema.ts';
import { kindTitle, readSupport } from './kubernetes-support.ts';

export type FieldState = 'supported' | 'accepted' | 'refused';
/** By test or by reason: the fields. */
export type TypeFields = Partial<Record<FieldState, Record<string, string[]>>>;
/** By group and version, as `core-v1`, then by type. */
export type FieldTable = Record<string, Record<string, TypeFields>>;

const DIRECTORY = join(import.meta.dirname, 'kubernetes-fields');
const ROOT = join(import.meta.dirname, '..');
/** Objects without a kind of their own: subresources, reviews, options and answers. */
const FURTHER = [
  'io.k8s.api.authentication.v1.SelfSubjectReview',
  'io.k8s.api.authentication.v1.TokenRequest',
  'io.k8s.api.authentication.v1.TokenReview',
  'io.k8s.api.authorization.v1.LocalSubjectAccessReview',
  'io.k8s.api.authorization.v1.SelfSubjectAccessReview',
  'io.k8s.api.authorization.v1.SelfSubjectRulesReview',
  'io.k8s.api.authorization.v1.SubjectAccessReview',
  'io.k8s.api.autoscaling.v1.Scale',
  'io.k8s.api.core.v1.Binding',
  'io.k8s.api.policy.v1.Eviction',
  'io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions',
  'io.k8s.apimachinery.pkg.apis.meta.v1.Status',
];
/** Of every object alike. */
const OF_OBJECTS = ['apiVersion', 'kind', 'metadata'];

export function readFields(): FieldTable {
  const files = readdirSync(DIRECTORY).filter((name) => name.endsWith('.json'));
  return Object.fromEntries(
    files.map((name) => [
      name.slice(0, -'.json'.length),
      JSON.parse(readFileSync(join(DIRECTORY, name), 'utf8')) as Record<string, TypeFields>,
    ]),
  );
}

/** `core-v1` and `PodSpec` of `io.k8s.api.core.v1.PodSpec`. */
export function placeOf(name: string): { group: string; type: string } {
  const [type = '', version = '', ...rest] = name.split('.').reverse();
  return { group: `${rest[0] ?? ''}-${version}`, type };
}

/**
 * Everything that the table does not say of the fields that one reaches from the kinds, says twice, or says of what is not there. Below a field
 * that does nothing nothing more is to be said. A test that is named for a field must at least name the field.
 */
export function fieldProblems(table: FieldTable): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  const todo = startingPoints();
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    const properties = definitions()[name]?.properties;
    if (properties === undefined || seen.has(name)) continue;
    seen.add(name);
    const { group, type } = placeOf(name);
    const said = statesOf(table[group]?.[type] ?? {}, `${group} ${type}`, problems);
    const ofObject = isObject(name) ? OF_OBJECTS : [];
    for (const [field, schema] of Object.entries(properties)) {
      const state = ofObject.includes(field) ? 'supported' : said.get(field);
      if (state === undefined)
        problems.push(`${group} ${type} ${field}: tools/kubernetes-fields/${group}.json says nothing of it`);
      if (state === 'supported') todo.push(...referencesIn(schema));
    }
    for (const field of said.keys())
      if (!Object.hasOwn(properties, field)) problems.push(`${group} ${type} ${field}: there is no such field`);
  }
  const known = new Set([...seen].map((name) => Object.values(placeOf(name)).join(' ')));
  for (const [group, types] of Object.entries(table))
    for (const type of Object.keys(types))
      if (!known.has(`${group} ${type}`)) problems.push(`${group} ${type}: no field that is supported leads there`);
  return problems;
}

function startingPoints(): string[] {
  const { kinds } = readSupport();
  const names = builtinKinds
    .filter((kind) => kinds[kindTitle(kind)]?.state === 'supported')
    .flatMap((kind) => (schemaOf(kind) === undefined ? [] : (kind.schemaName ?? [])));
  return [...names, ...FURTHER];
}

/** By field. */
function statesOf(fields: TypeFields, of: string, problems: string[]): Map<string, FieldState> {
  const found = new Map<string, FieldState>();
  for (const [state, groups] of Object.entries(fields) as [FieldState, Record<string, string[]>][])
    for (const [reason, names] of Object.entries(groups)) {
      const words = state === 'supported' ? wordsOf(reason) : undefined;
      for (const field of names) {
        if (found.has(field)) problems.push(`${of} ${field}: said twice`);
        found.set(field, state);
        if (words?.has(field) === false) problems.push(`${of} ${field}: ${reason} does not name it`);
      }
    }
  return found;
}

const words = new Map<string, Set<string>>();

/** Those of a test's source. */
function wordsOf(path: string): Set<string> {
  const known = words.get(path);
  if (known !== undefined) return known;
  const found = new Set(readFileSync(join(ROOT, path), 'utf8').match(/[$\w-]+/g));
  words.set(path, found);
  return found;
}

function isObject(name: string): boolean {
  const { type } = placeOf(name);
  return (
    definitions()[name]?.['x-kubernetes-group-version-kind'] !== undefined && !/^(DeleteOptions|Status)$/.test(type)
  );
}

function referencesIn(schema: Schema): string[] {
  const name = refName(schema);
  const inner = [schema.items, schema.additionalProperties].filter((one) => typeof one === 'object');
  return [...(name === undefined ? [] : [name]), ...inner.flatMap(referencesIn)];
}
