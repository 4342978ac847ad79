/**
 * Certificates of the hosts that the router serves: where each comes from, when it is made anew, and what is wrong with it.
 *
 * Sources, the strongest first; of two for one host the stronger one's counts:
 * - `uploaded`: somebody brought it for a domain (`PUT /v3/domains/:guid/certificate`). It is never renewed here.
 * - `acme`: an ACME server (RFC 8555) gave it, by the challenge http-01, which the router itself answers: one for each host of a route that leads
 *   to an app, and one for the platform's own hosts. Only where `sampan up --acme` names a server and its terms were agreed to. Hosts that an
 *   uploaded one covers, wildcard hosts, and names that no public server can know (`.localhost`, `.internal` …) get none.
 * - `own`: the instance's authority gave it, one for each domain and its wildcard. What is offered until there is a better one.
 *
 * Each is a `DomainCertificate` (cluster-scoped: `kubectl get domaincertificates`) whose status says how it stands, and a Secret `certificate-<name>`
 * of the system namespace with chain and key, encrypted at rest as all are. The ACME account's key is the Secret `acme-account-<digest of the server>`.
 *
 * An order survives the death of this process at any moment: the key that it is for is kept in `certificate-<name>-next` before the order is made,
 * and its address in the status as soon as it has one; whoever comes next goes on with both. The older certificate is offered until the newer one is.
 * The router takes certificates and answers to challenges at run time: nothing is reloaded, no connection is closed.
 *
 * Renewal begins at two thirds of the lifetime, up to a twentieth of it earlier, by a share that is the certificate's own, so that a thousand of one day do not
 * come back together. A failure is tried again after 10 minutes, doubling to a day, and never before the server's own `Retry-After`: the well-known
 * limit is five failures an hour for a host.
 */
import type { DomainCertificate } from '../resources/types.ts';
import type { HostCertificate } from '../router/model.ts';

export type CertificateSource = DomainCertificate['spec']['source'];

/** An ACME server, as `sampan up` was told of it. */
export interface AcmeSettings {
  /** Address of its directory. */
  directory: string;
  /** Whom it may write to. */
  email?: string;
  /** Who signs the server's own certificate, PEM, besides the well-known authorities. */
  authorities?: string;
  /** Of an account elsewhere that this one is bound to (RFC 8555, 7.3.4). `hmacKey` in base64url. */
  binding?: { keyId: string; hmacKey: string };
}

/** What the router is given of it. */
export interface CertificateSide {
  /** Resolves when every copy is complete. */
  readonly synced: Promise<unknown>;
  /** What to offer now, each host once. */
  offered(): HostCertificate[];
  /** Paths of challenges under way, and what to answer there, whatever the host. */
  challenges(): ReadonlyMap<string, string>;
  /** The router serves what was offered, and these challenges. */
  served(challenges: ReadonlyMap<string, string>): void;
  /** Called whenever the answers may have changed. */
  onChange(listener: () => void): void;
  close(): Promise<void>;
}

/** Signs for these hosts by the instance's own authority. PEM. */
export type OwnAuthority = (hosts: readonly string[]) => Promise<{ certificate: string; key: string }>;
