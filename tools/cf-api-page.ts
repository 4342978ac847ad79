/**
 * Writes `docs/reference/cf-api.md` from the cloud controller's route table and the list of all endpoints of Cloud Foundry's
 * API v3 (`cf-endpoints.txt`; parameters are `:_`): `node tools/cf-api-page.ts`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Context, Endpoint } from '#platform/cloud-controller/api.ts';
import { endpointTable } from '#platform/cloud-controller/table.ts';

const root = join(import.meta.dirname, '..');
const PAGE = join(root, 'docs/reference/cf-api.md');
const ROOM = 'platform/cloud-controller/';

/** What shows that the endpoints of a resource work, besides the test that asks every endpoint as everybody. */
const TESTS: Record<string, string> = {
  admin: 'buildpacks.test.ts',
  apps: 'push.test.ts',
  packages: 'push.test.ts',
  builds: 'push.test.ts',
  droplets: 'droplets.test.ts',
  processes: 'push.test.ts',
  resource_matches: 'push.test.ts',
  deployments: '../workloads/deployment.test.ts',
  revisions: '../workloads/deployment.test.ts',
  organization_quotas: 'quotas.test.ts',
  space_quotas: 'quotas.test.ts',
  feature_flags: 'settings.test.ts',
  environment_variable_groups: 'settings.test.ts',
  stacks: 'settings.test.ts',
  buildpacks: 'buildpacks.test.ts',
  tasks: 'tasks.test.ts',
  app_usage_events: 'usage-events.test.ts',
  service_usage_events: 'usage-events.test.ts',
  sidecars: 'sidecars.test.ts',
  security_groups: 'security-groups.test.ts',
  networking: 'security-groups.test.ts',
  domains: 'routing.test.ts',
  routes: 'routing.test.ts',
  routing: 'routing.test.ts',
  service_brokers: 'service-brokers.test.ts',
  service_offerings: 'service-brokers.test.ts',
  service_plans: 'service-brokers.test.ts',
  service_instances: 'service-brokers.test.ts',
  service_credential_bindings: 'service-brokers.test.ts',
  service_route_bindings: 'service-route-bindings.test.ts',
  isolation_segments: 'isolation-segments.test.ts',
  users: '../uaa/scim/scim.test.ts',
};
const DEFAULT_TEST = 'api.test.ts';
export const EVERYBODY = 'tenancy.test.ts';

/** Why what is not there is not, by the beginning of its path. */
const REASONS: [RegExp, string][] = [[/^(POST|DELETE) \/v3\/stacks/, "the stack is the platform's own"]];

const line = ({ method, path }: Pick<Endpoint, 'method' | 'path'>) => `${method} ${path}`;
const shape = (text: string) => text.replaceAll(/:[a-z_]+/g, ':_');

export function pageText(): string {
  const endpoints = endpointTable(nothing);
  const known = new Set(endpoints.map((endpoint) => shape(line(endpoint))));
  const all = readFileSync(join(import.meta.dirname, 'cf-endpoints.txt'), 'utf8')
    .trim()
    .split('\n');
  const missing = all.filter((entry) => !known.has(entry));
  const groups = Map.groupBy(endpoints, ({ path }) => groupOf(path));
  const sections = [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, list]) => section(name, list));
  return `# Cloud Foundry's API v3

What the cloud controller serves of it. This page is made by \`tools/cf-api-page.ts\`.

- **supported**: as Cloud Foundry has it. Every endpoint is asked as everybody in \`${ROOM}${EVERYBODY}\`, whose golden file
  (\`${ROOM}testdata/tenancy.txt\`) says who may do what; the test named at a resource shows what it does.
- **partial**: it answers, and what is missing is said.
- What is not listed is answered with 404 and Cloud Foundry's error JSON; the last table says why.

The stock \`cf\` client's everyday commands are run in \`test/cf.test.ts\`, every one that it has in \`test/cf-commands.long.test.ts\`.

${sections.join('\n')}
## Not there

| endpoint | why |
| --- | --- |
${missing.map((entry) => `| \`${entry.replaceAll(':_', ':guid')}\` | ${reason(entry)} |\n`).join('')}`;
}

function groupOf(path: string): string {
  const [, first = '', second] = path.split('/');
  return ['networking', 'routing'].includes(first) ? first : (second ?? 'root');
}

function section(name: string, endpoints: Endpoint[]): string {
  const test = testOf(name);
  const rows = endpoints.map((endpoint) => {
    const state = endpoint.partial === undefined ? 'supported' : `partial: ${endpoint.partial}`;
    return `| \`${line(endpoint)}\` | ${endpoint.summary} | ${state} |\n`;
  });
  return `## ${name}

Test: \`${test}\`.

| endpoint | | state |
| --- | --- | --- |
${rows.join('')}`;
}

/** From the root of the project. */
export function testOf(name: string): string {
  const path = join(ROOM, TESTS[name] ?? DEFAULT_TEST);
  if (!existsSync(join(root, path))) throw new Error(`${path} is named as a test of ${name}, and is not there`);
  return path;
}

function reason(entry: string): string {
  const found = REASONS.find(([pattern]) => pattern.test(entry));
  if (!found) throw new Error(`${entry} is not served, and nothing says why`);
  return found[1];
}

export function pageOnDisk(): string {
  return readFileSync(PAGE, 'utf8');
}

/** The table is made without being asked anything. */
const nothing = { urls: {}, records: {}, access: {}, defaults: {}, staging: {}, flags: {} } as Context;

if (process.argv[1] === import.meta.filename) writeFileSync(PAGE, pageText());
