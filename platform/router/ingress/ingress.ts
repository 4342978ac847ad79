/**
 * Ingresses (networking.k8s.io/v1) on the platform's router, beside the routes of apps.
 *
 * Ours are those whose `ingressClassName` names an IngressClass with the controller `sampan.dev/router`; those without one whose older
 * annotation `kubernetes.io/ingress.class` does; and those that say neither while a class of ours is the default one. The class
 * `sampan` is made once, as the default where there is none; an administrator who changes or deletes it finds it so.
 *
 * - Rules. A host is exact, or a wildcard for one label, or absent: then it is every host. Of paths `Exact` is stronger than
 *   `Prefix`, which goes by whole elements, and the longest wins; `ImplementationSpecific` is `Prefix`. The default backend takes
 *   what no rule of its Ingress takes at the Ingress's hosts, and what nobody at all takes at any other.
 * - A host and path that several want is the oldest's, Ingress or route of an app; the platform's own hosts are nobody's.
 * - Backends are Services with a port by number or name, to whose ready endpoints requests go without the Service's address; those
 *   that end finish what they have. `appProtocol` `kubernetes.io/h2c` (or `grpc`) means HTTP/2. One without an endpoint answers 503.
 * - TLS. Each `tls` entry's certificate (a Secret of the type `kubernetes.io/tls`) is offered to clients that name one of its hosts,
 *   of the rules where it names none. Until its Secret is right, the instance's own certificate is. HTTP stays open beside it.
 * - `status.loadBalancer` shows the router's address and ports once it serves them. What cannot be served is told by a Warning Event.
 *
 * `resource` backends, Services of the type ExternalName and `appProtocol` `https` are not served, and said so.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret, Service } from '#cluster/kinds/types/core.ts';
import type { EndpointSlice } from '#cluster/kinds/types/discovery.ts';
import type { Ingress, IngressClass } from '#cluster/kinds/types/networking.ts';
import type { Claim } from '../claims.ts';
import type { HostCertificate } from '../model.ts';

export const CONTROLLER = 'sampan.dev/router';
export const DEFAULT_ANNOTATION = 'ingressclass.kubernetes.io/is-default-class';
export const OLD_CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

export interface IngressSources {
  ingresses: Stored<Ingress>[];
  classes: Stored<IngressClass>[];
  service(namespace: string, name: string): Service | undefined;
  /** Of a Service. */
  slices(namespace: string, service: string): EndpointSlice[];
  /** Of the type `kubernetes.io/tls`. */
  certificate(namespace: string, name: string): Secret | undefined;
  systemHosts: ReadonlySet<string>;
}

export type ProblemReason = 'Rejected' | 'InvalidBackend' | 'InvalidCertificate';

export interface IngressProblem {
  ingress: Stored<Ingress>;
  reason: ProblemReason;
  message: string;
}

export interface IngressRoutes {
  ours: Stored<Ingress>[];
  claims: Claim[];
  certificates: HostCertificate[];
  /** Complete when the claims are settled. */
  problems: IngressProblem[];
  /** `namespace/name` of the Services that any of ours names. */
  services: Set<string>;
}
