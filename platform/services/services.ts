/**
 * Services of brokers: the platform's side of the Open Service Broker API, version 2.17.
 *
 * Nobody calls a broker while a client waits. The cloud controller writes down what was asked (`BrokerRequest`, in the object
 * that it is about), and the controllers of this room do it, level-triggered: whatever is written and not done is done, also by
 * the next process after a `kill -9`. How far they are is in the object's status (`BrokerOperation`), which is also what
 * `cf service` and the job show:
 *
 *     asked ──────────────► accepted ────────► ended
 *     the request is or     202: asked again   succeeded, or failed and why
 *     was on its way        now and then       (a deletion that succeeded has no object any more)
 *
 * - **Once is enough.** Who dies between the question and writing down the answer asks again: requests of the API may be
 *   repeated, with the same ids and content. A broker that then speaks of a conflict (409) has something that nobody can vouch
 *   for, and an orphan is noted.
 * - **One at a time.** An object has one request. The cloud controller refuses another one while it is not ended, but for
 *   the deletion of what is being created and was accepted; answers to a request that is no longer the object's are dropped.
 * - **Orphans** (`ServiceOrphan`) are noted before the failure that makes them is told, where the specification's table says so
 *   (`answers.ts`), and are deleted at the broker until it says that they are gone: at once, then with doubling waits of up to
 *   ten minutes, for as long as there is the broker. A deletion that fails is the user's to repeat, as in Cloud Foundry.
 * - **Polling**: as the broker says with `Retry-After`, else after 1 s and ever longer, up to a minute; for as long as the plan's
 *   `maximum_polling_duration` says, a week at most.
 * - **Each broker for itself.** A broker that hangs keeps a few workers of its own busy, and nobody else's. A request has a minute,
 *   an answer a size; a redirect is not followed.
 * - **Where a broker may be.** As drains: no address of the platform, unless allowed. A broker that is an app here is found by its
 *   route, through the router: its name is not looked up.
 * - **Secrets.** Logins, parameters and credentials are in Secrets, and in no message, log, event or other object.
 *
 * Parsers (`answers.ts`, `catalog.ts`) take any bytes, and are pure.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { CloudFoundryErrorTitle } from '../cloud-controller/errors.ts';
import type { ServiceBinding, ServiceInstance } from '../resources/service-types.ts';

export const API_VERSION = '2.17';

/** Why a broker did not do what it was asked. The message is for users. */
export class BrokerError extends Error {
  /** As Cloud Foundry names it in jobs of brokers. */
  readonly title: CloudFoundryErrorTitle;
  /** The broker may have made what it was asked for. */
  readonly orphan: boolean;
  constructor(message: string, options: { title: CloudFoundryErrorTitle; orphan?: boolean; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BrokerError';
    this.title = options.title;
    this.orphan = options.orphan ?? false;
  }
}

export interface BrokerAccess {
  /** `/v2/…` is below it. */
  url: string;
  username: string;
  password: string;
}

/** One that the platform brings. */
export interface OwnBroker extends BrokerAccess {
  name: string;
  /** On the loopback: where its URL leads, whatever its host is. */
  port: number;
}

/** How brokers are reached. */
export interface BrokerNetwork {
  guard: AddressGuard;
  /** For brokers that are apps here. Absent: those are reached as any other. */
  router?: { http: number; https: number; ca: string };
  /** Registered when the platform starts; their plans are everybody's until an administrator says otherwise. */
  own?: readonly OwnBroker[];
  /** Default 60 s: all of a request and its answer. */
  timeoutMilliseconds?: number;
}

export interface Services {
  /** As the broker has them now. @throws CloudFoundryError where it cannot say */
  instanceParameters(instance: Stored<ServiceInstance>, by: string): Promise<Record<string, unknown>>;
  bindingParameters(binding: Stored<ServiceBinding>, by: string): Promise<Record<string, unknown>>;
  close(): Promise<void>;
}
