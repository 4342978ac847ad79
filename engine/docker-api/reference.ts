/** The reference page of the Docker API, from the route table. Pure; `tools/docker-api-page.ts` writes it. */
import type { Route } from './route.ts';

const GROUPS: readonly [string, string][] = [
  ['containers', 'Containers'],
  ['exec', 'Exec'],
  ['images', 'Images'],
  ['distribution', 'Images'],
  ['build', 'Images'],
  ['session', 'Images'],
  ['commit', 'Images'],
  ['networks', 'Networks'],
  ['volumes', 'Volumes'],
  ['swarm', 'Swarm'],
  ['nodes', 'Swarm'],
  ['services', 'Swarm'],
  ['tasks', 'Swarm'],
  ['secrets', 'Swarm'],
  ['configs', 'Swarm'],
  ['plugins', 'Plugins'],
];

export function stateOf({ state, handle }: Route): 'supported' | 'partial' | 'absent' {
  return state ?? (handle === undefined ? 'absent' : 'supported');
}

export function renderReference(routes: readonly Route[]): string {
  const groups = new Map<string, Route[]>([['System', []]]);
  for (const [, title] of GROUPS) groups.set(title, []);
  for (const route of routes) groups.get(groupOf(route))?.push(route);
  const count = (state: string): number => routes.filter((route) => stateOf(route) === state).length;
  const lines = [
    '# The Docker Engine API',
    '',
    '<!-- Written by tools/docker-api-page.ts from the route table in engine/docker-api. Change that, and run it again. -->',
    '',
    `Version 1.45 of the API has ${routes.length} endpoints; clients from 1.24 on are understood. ${count('supported')} are supported,`,
    `${count('partial')} in part, ${count('absent')} are not there: they answer in Docker’s error shape and say so. The test named beside an endpoint shows`,
    'what it does, with the real `docker` client where that can ask for it.',
    '',
  ];
  for (const [title, members] of groups) {
    lines.push(`## ${title}`, '', '| endpoint | state | what it does | shown by |', '| --- | --- | --- | --- |');
    for (const route of [...members].sort(byPath)) lines.push(row(route));
    lines.push('');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

function groupOf({ path }: Route): string {
  const first = path.split('/')[1] ?? '';
  return GROUPS.find(([name]) => name === first)?.[1] ?? 'System';
}

function byPath(left: Route, right: Route): number {
  return left.path === right.path ? (left.method < right.method ? -1 : 1) : left.path < right.path ? -1 : 1;
}

function row(route: Route): string {
  const state = { supported: 'yes', partial: 'in part', absent: 'no' }[stateOf(route)];
  const said = [route.summary, route.note].filter((text) => text !== undefined).join('. ');
  const test = route.test === undefined ? '' : `\`${route.test}\``;
  return `| \`${route.method} ${route.path}\` | ${state} | ${said} | ${test} |`;
}
