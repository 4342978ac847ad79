import type { Instance } from './instance.ts';

/** Where an instance answers, as a client dials it, port included. */
export interface Endpoints {
  http: string;
  https: string;
  /** The Cloud Foundry API. */
  api: string;
  uaa: string;
  kubernetes: string;
  registry: string;
  docker: string;
}

export function endpoints(instance: Instance): Endpoints {
  const { domain, ports } = instance;
  const https = (host: string): string => `https://${host}${ports.https === 443 ? '' : `:${ports.https}`}`;
  return {
    http: `http://${domain}${ports.http === 80 ? '' : `:${ports.http}`}`,
    https: https(domain),
    api: https(`api.${domain}`),
    uaa: https(`uaa.${domain}`),
    kubernetes: `https://127.0.0.1:${ports.kubernetes}`,
    registry: `https://127.0.0.1:${ports.registry}`,
    docker: `unix://${instance.runDirectory}/docker.sock`,
  };
}
