/**
 * Writes docs/reference/kubernetes-api.md and the pages of docs/reference/kubernetes-fields: what of the Kubernetes API is supported, accepted
 * without effect, or refused. From the kinds themselves, `kubernetes-support.json` and `kubernetes-fields/`; run it after a change of one (a
 * test tells).
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { builtinKinds } from '../cluster/kinds/builtin.ts';
import type { KindDefinition } from '../cluster/kinds/kind.ts';
import { type FieldTable, readFields } from './kubernetes-fields.ts';
import { fieldPages, fieldsLink } from './kubernetes-fields-page.ts';
import { kindTitle, readSupport, type Support, type SupportData } from './kubernetes-support.ts';

const ROOT = join(import.meta.dirname, '..');
const REFERENCE = join(ROOT, 'docs/reference');
const INDEX = 'kubernetes-api.md';
const FIELDS = 'kubernetes-fields';

const HEAD = `# The Kubernetes API

What \`cluster/\` serves of it, at version 1.30. This page is made by \`tools/kubernetes-api-page.ts\`.

- **supported**: it does what upstream's does; the named test shows it.
- **accepted**: stored, validated, defaulted and shown as upstream's, and without further effect; the reason is given.
- **refused**: an error that says so.

Of each field: the pages of the kinds' groups, to which their names lead, and those of what they share: [metadata, selectors, options](kubernetes-fields/meta-v1.md),
[reviews of access](kubernetes-fields/authorization-v1.md), [of tokens](kubernetes-fields/authentication-v1.md), [scales](kubernetes-fields/autoscaling-v1.md#scale).

For every kind alike (tests: \`cluster/apiserver/every-kind.test.ts\`, \`verbs.test.ts\`, \`watch.test.ts\`,
\`list-options.test.ts\`, \`server-side-apply.test.ts\`, \`bodies.test.ts\`, \`warnings.test.ts\`): get, list in pages and at revisions, watch with bookmarks and initial events, create,
update, JSON, merge, strategic merge and apply patches with managed fields, delete with preconditions, propagation and grace,
deletecollection, dry run, field validation, warnings, Tables, partial metadata, JSON, YAML and protobuf (errors and Tables are JSON).
`;

function index(support: SupportData, table: FieldTable): string {
  const groups = Map.groupBy(builtinKinds, (kind) => (kind.group === '' ? 'core' : kind.group));
  const parts = [HEAD];
  for (const [group, kinds] of [...groups].sort(([a], [b]) => (a === 'core' ? -1 : b === 'core' ? 1 : a < b ? -1 : 1)))
    parts.push(
      `## ${group}\n`,
      '| kind | version | short | subresources | state | |',
      '| --- | --- | --- | --- | --- | --- |',
      ...kinds.map((kind) => row(kind, support, table)),
      '',
    );
  parts.push(
    '## Refused\n',
    '| API | why |',
    '| --- | --- |',
    ...support.refused.map(({ api, why }) => `| ${api} | ${why} |`),
    '',
  );
  return parts.join('\n');
}

function row(kind: KindDefinition, { kinds }: SupportData, table: FieldTable): string {
  const state = kinds[kindTitle(kind)];
  if (state === undefined) throw new Error(`tools/kubernetes-support.json says nothing of ${kindTitle(kind)}: add it`);
  const parts = [
    ...(kind.subresources.status ? ['status'] : []),
    ...(kind.subresources.scale === undefined ? [] : ['scale']),
    ...(kind.subresources.approval === true ? ['approval'] : []),
  ];
  const link = fieldsLink(table, kind.schemaName);
  const name = link === undefined ? kind.kind : `[${kind.kind}](${link})`;
  return `| ${name} | ${kind.version} | ${kind.shortNames.join(', ')} | ${parts.join(', ')} | ${state.state} | ${reason(state)} |`;
}

function reason({ test, why }: Support): string {
  return test === undefined ? (why ?? '') : `\`${test}\``;
}

/** By their paths below docs/reference. */
export function pages(): Record<string, string> {
  const table = readFields();
  const ofFields = Object.entries(fieldPages(table)).map(([name, text]) => [join(FIELDS, name), text]);
  return { [INDEX]: index(readSupport(), table), ...Object.fromEntries(ofFields) };
}

export function pagesOnDisk(): Record<string, string> {
  const names = [INDEX, ...readdirSync(join(REFERENCE, FIELDS)).map((name) => join(FIELDS, name))];
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(REFERENCE, name), 'utf8')]));
}

if (process.argv[1] === import.meta.filename) {
  rmSync(join(REFERENCE, FIELDS), { recursive: true, force: true });
  mkdirSync(join(REFERENCE, FIELDS));
  for (const [name, text] of Object.entries(pages())) writeFileSync(join(REFERENCE, name), text);
}
