/**
 * Stands in for the agents of nodes where only what they say of usage counts: TLS servers that answer `/stats/summary` in the
 * form of `cluster/node/stats.ts`, with the cpu's counters going on as a test says.
 */
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { KeyPair } from '#lib/certificates.ts';

export interface Use {
  cores: number;
  memoryBytes: number;
}

export interface SummaryAgent {
  port: number;
  /** By `<namespace>/<name>/<container>`: what it uses from now on. */
  use(container: string, use: Use): void;
  forget(container: string): void;
  /** How often it was asked. */
  asked(): number;
  close(): void;
}

interface Counter extends Use {
  startedAt: number;
  at: number;
  nanos: number;
}

/** @param identity  for `system:node:<name>` */
export async function summaryAgent(node: string, identity: KeyPair, ca: string): Promise<SummaryAgent> {
  const counters = new Map<string, Counter>();
  const started = Date.now() - 3_600_000;
  let asked = 0;
  const forward = (counter: Counter, now: number): void => {
    counter.nanos += counter.cores * (now - counter.at) * 1e6;
    counter.at = now;
  };
  const summary = (): object => {
    const now = Date.now();
    const of = (one: Counter) => ({
      startTime: new Date(one.startedAt).toISOString(),
      cpu: { time: new Date(now).toISOString(), usageCoreNanoSeconds: one.nanos },
      memory: { time: new Date(now).toISOString(), workingSetBytes: one.memoryBytes },
    });
    const sum: Counter = { startedAt: started, at: now, nanos: 0, cores: 0, memoryBytes: 0 };
    const pods = new Map<string, { podRef: object; containers: object[] }>();
    for (const [key, counter] of counters) {
      forward(counter, now);
      sum.nanos += counter.nanos;
      sum.memoryBytes += counter.memoryBytes;
      const [namespace = '', name = '', container = ''] = key.split('/');
      const pod = pods.get(`${namespace}/${name}`) ?? { podRef: { namespace, name }, containers: [] };
      pod.containers.push({ name: container, ...of(counter) });
      pods.set(`${namespace}/${name}`, pod);
    }
    return { node: { nodeName: node, ...of(sum) }, pods: [...pods.values()] };
  };
  const server = createServer(
    { cert: identity.certificate, key: identity.key, ca, requestCert: true },
    (request, response) => {
      if (request.url !== '/stats/summary') return void response.writeHead(404).end();
      asked++;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(summary()));
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    use(container, use) {
      const now = Date.now();
      const counter = counters.get(container) ?? { ...use, startedAt: started, at: now, nanos: 0 };
      forward(counter, now);
      counters.set(container, Object.assign(counter, use));
    },
    forget: (container) => void counters.delete(container),
    asked: () => asked,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
