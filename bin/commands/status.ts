import { request } from 'node:https';
import { readCa, readPair } from '../certificates.ts';
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
}

export async function readStatus(instance: Instance): Promise<Status> {
  const processes = roles.map((role) => ({ role, ready: isReady(instance, role) }));
  const nodes = processes[0]?.ready ? await readNodes(instance) : [];
  return {
    name: instance.name,
    ready: processes.every((process) => process.ready) && nodes.some((node) => node.ready),
    version,
    endpoints: endpoints(instance),
    nodes,
    processes,
  };
}

interface NodeList {
  items: {
    metadata: { name: string };
    status?: { conditions?: { type: string; status: string }[]; addresses?: { type: string; address: string }[] };
  }[];
}

async function readNodes(instance: Instance): Promise<Status['nodes']> {
  const { certificate, key } = readPair(instance, 'admin');
  const body = await new Promise<string | undefined>((answer) => {
    const call = request(
      {
        host: '127.0.0.1',
        port: instance.ports.kubernetes,
        path: '/api/v1/nodes',
        ca: readCa(instance),
        cert: certificate,
        key,
        timeout: 3000,
        agent: false,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.once('end', () => answer(response.statusCode === 200 ? text : undefined));
      },
    );
    call.once('timeout', () => call.destroy());
    call.once('error', () => answer(undefined)); // it does not answer: that is the status
    call.end();
  });
  if (!body) return [];
  return (JSON.parse(body) as NodeList).items.map((node) => ({
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
