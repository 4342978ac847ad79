/** The pages of docs/reference/kubernetes-fields, one for each group: what is said of its types' fields. */
import { type FieldState, type FieldTable, placeOf } from './kubernetes-fields.ts';
import { definitions } from '../cluster/kinds/schema.ts';

const STATES: readonly FieldState[] = ['supported', 'accepted', 'refused'];

/** By the name of its file. */
export function fieldPages(table: FieldTable): Record<string, string> {
  return Object.fromEntries(Object.entries(table).map(([group, types]) => [`${group}.md`, page(group, types)]));
}

/** The page of a kind's group, and its place there; undefined where nothing is said of its fields. */
export function fieldsLink(table: FieldTable, schemaName: string | undefined): string | undefined {
  if (schemaName === undefined) return undefined;
  const { group, type } = placeOf(schemaName);
  return table[group]?.[type] === undefined ? undefined : `kubernetes-fields/${group}.md#${type.toLowerCase()}`;
}

function page(group: string, types: FieldTable[string]): string {
  return [
    `# Fields of ${group.replace('-', '/')}\n`,
    'Which fields of its types do what upstream’s do, shown by a test that names them; which are kept without effect, and which are refused, and why.',
    `What is below a field that is not supported is as it is. [All groups](../kubernetes-api.md). This page is made by \`tools/kubernetes-api-page.ts\`.\n`,
    ...Object.entries(types).flatMap(([type, states]) => [
      `## ${type}\n`,
      ...usedBy(group, type),
      '| fields | state | |',
      '| --- | --- | --- |',
      ...STATES.flatMap((state) =>
        Object.entries(states[state] ?? {}).map(
          ([reason, fields]) =>
            `| ${fields.map((field) => `\`${field}\``).join(', ')} | ${state} | ${state === 'supported' ? `\`${reason}\`` : reason} |`,
        ),
      ),
      '',
    ]),
  ].join('\n');
}

/** Where one comes across it: types of its own group are named, the others are elsewhere. */
function usedBy(group: string, type: string): string[] {
  const users = new Set<string>();
  for (const [name, { properties }] of Object.entries(definitions())) {
    if (name.endsWith('List') || placeOf(name).group !== group) continue;
    for (const [field, schema] of Object.entries(properties ?? {}))
      if (new RegExp(`\\.${type}"`).test(JSON.stringify(schema))) users.add(`\`${placeOf(name).type}.${field}\``);
  }
  const some = [...users].slice(0, MOST_USERS);
  const more = users.size > some.length ? ' and others' : '';
  return some.length === 0 ? [] : [`In ${some.join(', ')}${more}.\n`];
}

const MOST_USERS = 6;
