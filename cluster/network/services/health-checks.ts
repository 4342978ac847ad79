/**
 * `healthCheckNodePort`: load balancers outside ask every node whether it has endpoints of a Service whose external traffic stays on
 * the node. 200 where it has, 503 where not, with the numbers (the form of upstream's `proxy/healthcheck`).
 */
import { createServer, type Server } from 'node:http';
import type { ServicePort } from './services.ts';

interface Check {
  name: string;
  localEndpoints: number;
  server: Server;
}

export class HealthChecks {
  readonly #checks = new Map<number, Check>();
  readonly #onError: (port: number, error: Error) => void;

  constructor(onError: (port: number, error: Error) => void) {
    this.#onError = onError;
  }

  set(ports: Iterable<ServicePort>): void {
    const wanted = new Map<number, { name: string; addresses: Set<string> }>();
    for (const { name, externalPolicy, healthCheckNodePort, backends } of ports) {
      if (healthCheckNodePort === undefined || externalPolicy !== 'Local') continue;
      const one = wanted.get(healthCheckNodePort) ?? { name: name.split(':')[0] ?? '', addresses: new Set() };
      for (const { ip } of backends.Local) one.addresses.add(ip);
      wanted.set(healthCheckNodePort, one);
    }
    for (const [port, { server }] of this.#checks) if (!wanted.has(port)) this.#stop(port, server);
    for (const [port, { name, addresses }] of wanted) {
      const check = this.#checks.get(port) ?? this.#listen(port);
      Object.assign(check, { name, localEndpoints: addresses.size });
    }
  }

  close(): void {
    for (const [port, { server }] of this.#checks) this.#stop(port, server);
  }

  #listen(port: number): Check {
    const server = createServer((_request, response) => {
      const { localEndpoints } = check;
      const [namespace, name] = check.name.split('/');
      const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: true };
      response.writeHead(localEndpoints > 0 ? 200 : 503, {
        'content-type': 'application/json',
        'x-content-type-options': 'nosniff',
        'x-load-balancing-endpoint-weight': String(localEndpoints),
      });
      response.end(`${JSON.stringify(body)}\n`);
    });
    const check: Check = { name: '', localEndpoints: 0, server };
    server.requestTimeout = 10_000;
    server.on('error', (error) => {
      // Tried again with the next change.
      this.#checks.delete(port);
      this.#onError(port, error);
    });
    server.listen(port, '0.0.0.0');
    server.unref();
    this.#checks.set(port, check);
    return check;
  }

  #stop(port: number, server: Server): void {
    this.#checks.delete(port);
    server.close();
    server.closeAllConnections();
  }
}
