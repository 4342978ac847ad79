import { askCluster } from '../ask-cluster.ts';
import { type Endpoints, endpoints } from '../endpoints.ts';
import { type Instance, type InstanceFlags, requireInstance } from '../instance.ts';
import { isReady, roles } from '../supervise.ts';
import { version } from '../version.ts';

export interface Status {
  name: string;
  ready: boolean;
  version: string;
  endpoints: Endpoints;
  nodes: { name: string; ready: boolean; ip: string }[];
  processes: { role: string; ready: boolean }[];
  /** Of the router: those that are not as they should be. */
  certificates: { hosts: string[]; state: string; problem: string }[];
}

export async function readStatus(instance: Instance): Promise<Status> {
  const processes = roles.map((role) => ({ role, ready: isReady(instance, role) }));
  const [nodes, certificates] = processes[0]?.ready
    ? await Promise.all([readNodes(instance), readCertificates(instance)])
    : [[], []];
  return {
    name: instance.name,
    ready: processes.every((process) => process.ready) && nodes.some((node) => node.ready),
    version,
    endpoints: endpoints(instance),
    nodes,
    processes,
    certificates,
  };
}

interface NodeList {
  items: {
    metadata: { name: string };
    status?: { conditions?: { type: string; status: string }[]; addresses?: { type: string; address: string }[] };
  }[];
}

interface CertificateList {
  items: {
    spec: { hosts: string[] };
    status?: { state: string; notAfter?: string; error?: { detail: string } | null };
  }[];
}

async function readCertificates(instance: Instance): Promise<Status['certificates']> {
  const list = await askCluster<CertificateList>(instance, '/apis/platform.sampan.dev/v1/domaincertificates');
  return (list?.items ?? []).flatMap(({ spec, status }) => {
    const problem = status?.error?.detail ?? (status?.state === 'EXPIRED' ? `it is over since ${status.notAfter}` : '');
    return problem === '' ? [] : [{ hosts: spec.hosts, state: status?.state ?? '', problem }];
  });
}

async function readNodes(instance: Instance): Promise<Status['nodes']> {
  const list = await askCluster<NodeList>(instance, '/api/v1/nodes');
  return (list?.items ?? []).map((node) => ({
    name: node.metadata.name,
    ready:
      node.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false,
    ip: node.status?.addresses?.find((address) => address.type === 'InternalIP')?.address ?? '',
  }));
}

export async function statusText(instance: Instance): Promise<string> {
  const status = await readStatus(instance);
  const rows: [string, string][] = [
    ['apps', status.endpoints.http],
    ['', status.endpoints.https],
    ['api', status.endpoints.api],
    ['uaa', status.endpoints.uaa],
    ['kubernetes', status.endpoints.kubernetes],
    ['registry', status.endpoints.registry],
    ['docker', status.endpoints.docker],
    ...status.nodes.map((node): [string, string] => [
      'node',
      `${node.name} ${node.ip} ${node.ready ? 'ready' : 'not ready'}`,
    ]),
    ...status.certificates.map(({ hosts, state, problem }): [string, string] => [
      'certificate',
      `${hosts.join(', ')} ${state.toLowerCase()}: ${problem}`,
    ]),
  ];
  const waiting = status.processes.filter((process) => !process.ready).map((process) => process.role);
  return `${status.name} ${status.version}: ${status.ready ? 'ready' : `not ready${waiting.length > 0 ? ` (${waiting.join(', ')})` : ''}`}\n${rows
    .map(([label, value]) => `  ${label.padEnd(11)} ${value}\n`)
    .join('')}`;
}

export async function status(flags: InstanceFlags, options: { json?: boolean }): Promise<void> {
  const instance = requireInstance(flags);
  if (options.json) process.stdout.write(`${JSON.stringify(await readStatus(instance))}\n`);
  else process.stdout.write(await statusText(instance));
}
