/** Connections to the node agents, whose addresses their Node objects give (the contract is `cluster/node/agent.ts`). */
import type http from 'node:http';
import https from 'node:https';
import type { ConnectionOptions, PeerCertificate } from 'node:tls';
import { nodes } from '../kinds/resources.ts';
import type { Node } from '../kinds/types/core.ts';
import { type Cache, kindPrefix, objectOf } from './cache.ts';
import { notFound, StatusError } from './errors.ts';

export interface AgentIdentity {
  certificate: string;
  key: string;
  ca: string;
}

export interface AgentAddress {
  node: string;
  host: string;
  port: number;
}

const ADDRESS_TYPES = ['InternalIP', 'ExternalIP', 'Hostname'];
const CONNECT_TIMEOUT = 10_000;

export class AgentDialer {
  readonly identity: AgentIdentity;
  private readonly cache: Cache;
  private readonly connections: https.Agent;

  constructor(cache: Cache, identity: AgentIdentity) {
    this.cache = cache;
    this.identity = identity;
    this.connections = new https.Agent({ keepAlive: true, maxFreeSockets: 8 });
  }

  /** Throws 404 without such a node, 503 when it has not said where it listens. */
  address(nodeName: string): AgentAddress {
    const cached = this.cache.resource(kindPrefix(nodes)).objects.get(kindPrefix(nodes) + nodeName);
    if (cached === undefined) throw notFound(nodes, nodeName);
    const { status } = objectOf(cached) as Node;
    const port = status?.daemonEndpoints?.kubeletEndpoint?.Port;
    for (const type of ADDRESS_TYPES) {
      const host = status?.addresses?.find((one) => one.type === type)?.address;
      if (host !== undefined && port !== undefined) return { node: nodeName, host, port };
    }
    throw new StatusError(
      503,
      'ServiceUnavailable',
      `node "${nodeName}" has no address of its agent in its status yet`,
    );
  }

  /** The agent must be who the Node object says: a certificate of the instance's CA for this node, at whatever address. */
  tls({ node }: AgentAddress): ConnectionOptions {
    const { certificate, key, ca } = this.identity;
    const checkServerIdentity = (_host: string, { subject }: PeerCertificate) =>
      subject?.CN === `system:node:${node}`
        ? undefined
        : new Error(`its certificate is for "${String(subject?.CN)}", expected "system:node:${node}"`);
    return { cert: certificate, key, ca, checkServerIdentity };
  }

  /** The answer as it comes; rejects when the agent cannot be reached. */
  get(address: AgentAddress, path: string, onAborted: (abort: () => void) => void): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = https.get(
        { ...this.tls(address), host: address.host, port: address.port, path, agent: this.connections },
        resolve,
      );
      request.on('error', (cause) => reject(this.unreachable(address, cause)));
      request.setTimeout(CONNECT_TIMEOUT, () => request.destroy(new Error('it does not answer')));
      request.on('response', () => request.setTimeout(0));
      onAborted(() => request.destroy());
    });
  }

  unreachable({ host, port }: AgentAddress, cause: Error): StatusError {
    return new StatusError(
      502,
      'BadGateway',
      `error dialing the node agent at ${host}:${port}: ${cause.message}`,
      undefined,
      { cause },
    );
  }

  close(): void {
    this.connections.destroy();
  }
}
