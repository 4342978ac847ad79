/**
 * Writes docs/reference/kubernetes-api.md: what of the Kubernetes API is supported, accepted without effect, or refused.
 * From the kinds themselves and `kubernetes-support.json`; run it after a change of either (a test tells).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { builtinKinds } from '../cluster/kinds/builtin.ts';
import type { KindDefinition } from '../cluster/kinds/kind.ts';
import { kindTitle, readSupport, type Support, type SupportData } from './kubernetes-support.ts';

const ROOT = join(import.meta.dirname, '..');
const PAGE = join(ROOT, 'docs/reference/kubernetes-api.md');

const HEAD = `# The Kubernetes API

What \`cluster/\` serves of it, at version 1.30. This page is made by \`tools/kubernetes-api-page.ts\`.

- **supported**: it does what upstream's does; the named test shows it.
- **accepted**: stored, validated, defaulted and shown as upstream's, and without further effect; the reason is given.
- **refused**: an error that says so.

For every kind alike (tests: \`cluster/apiserver/every-kind.test.ts\`, \`verbs.test.ts\`, \`watch.test.ts\`,
\`list-options.test.ts\`, \`server-side-apply.test.ts\`, \`bodies.test.ts\`): get, list in pages and at revisions, watch with bookmarks and initial events, create,
update, JSON, merge, strategic merge and apply patches with managed fields, delete with preconditions, propagation and grace,
deletecollection, dry run, field validation, Tables, partial metadata, JSON, YAML and protobuf (errors and Tables are JSON).
`;

function page(support: SupportData): string {
  const groups = Map.groupBy(builtinKinds, (kind) => (kind.group === '' ? 'core' : kind.group));
  const parts = [HEAD];
  for (const [group, kinds] of [...groups].sort(([a], [b]) => (a === 'core' ? -1 : b === 'core' ? 1 : a < b ? -1 : 1)))
    parts.push(
      `## ${group}\n`,
      '| kind | version | short | subresources | state | |',
      '| --- | --- | --- | --- | --- | --- |',
      ...kinds.map((kind) => row(kind, support)),
      '',
      ...kinds.flatMap((kind) => fields(kind, support)),
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

function row(kind: KindDefinition, { kinds }: SupportData): string {
  const state = kinds[kindTitle(kind)];
  if (state === undefined) throw new Error(`tools/kubernetes-support.json says nothing of ${kindTitle(kind)}: add it`);
  const parts = [
    ...(kind.subresources.status ? ['status'] : []),
    ...(kind.subresources.scale === undefined ? [] : ['scale']),
    ...(kind.subresources.approval === true ? ['approval'] : []),
  ];
  return `| ${kind.kind} | ${kind.version} | ${kind.shortNames.join(', ')} | ${parts.join(', ')} | ${state.state} | ${reason(state)} |`;
}

function fields(kind: KindDefinition, { kinds }: SupportData): string[] {
  const some = Object.entries(kinds[kindTitle(kind)]?.fields ?? {});
  if (some.length === 0) return [];
  return [
    `### Fields of ${kind.kind}\n`,
    '| field | state | |',
    '| --- | --- | --- |',
    ...some.map(([field, state]) => `| \`${field}\` | ${state.state} | ${reason(state)} |`),
    '',
  ];
}

function reason({ test, why }: Support): string {
  return test === undefined ? (why ?? '') : `\`${test}\``;
}

export function pageText(): string {
  return page(readSupport());
}

export function pageOnDisk(): string {
  return readFileSync(PAGE, 'utf8');
}

if (process.argv[1] === import.meta.filename) writeFileSync(PAGE, pageText());
