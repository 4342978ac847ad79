/** Apps on a cluster of hosts: they serve the name of their pod at /name on 8080. */
import assert from 'node:assert/strict';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { deployments } from '#cluster/kinds/resources.ts';
import type { Node, Pod } from '#cluster/kinds/types/core.ts';
import type { Host } from './hosts.ts';

export const namespace = 'default';
export const image = 'fixtures.invalid/busybox:latest';

/** Spread over the hosts. */
export async function deploy(client: Client, name: string, replicas: number): Promise<void> {
  const labels = { app: name };
  const container = {
    name: 'main',
    image,
    imagePullPolicy: 'IfNotPresent',
    command: ['sh', '-c', 'mkdir /tmp/w; hostname > /tmp/w/name; exec httpd -f -p 8080 -h /tmp/w'],
    readinessProbe: { tcpSocket: { port: 8080 } },
  };
  const spread = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: labels },
  };
  await client.create(deployments, {
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [container], topologySpreadConstraints: [spread] },
      },
    },
  });
}

export function isReady(object: Stored<Pod> | Stored<Node>): boolean {
  return object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

export function isOn(pod: Stored<Pod>, { name }: Host): boolean {
  return pod.spec?.nodeName === name;
}

/** A line of sh that asks for a path and prints what is served there. */
export function request(ip: string, path: string, port = 8080): string {
  return `printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 ${ip} ${port} | sed '1,/^\\r$/d'`;
}

/** Asks from a host; what is served. */
export async function served(host: Host, ip: string): Promise<string> {
  const said = (await host.run('sh', '-c', request(ip, '/name'))).trim();
  assert.notEqual(said, '', `${ip} did not answer ${host.name}`);
  return said;
}
