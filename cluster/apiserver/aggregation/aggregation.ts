/**
 * API servers of others behind this one: an APIService (apiregistration.k8s.io/v1) whose `spec.service` is set hands the paths of its
 * group and version, `/apis/GROUP/VERSION/…`, to an endpoint of that Service over HTTPS.
 *
 * - A request is authenticated and authorized here first, then handed on with who asks in `X-Remote-User`, `X-Remote-Uid`,
 *   `X-Remote-Group` and `X-Remote-Extra-…`, proven by this server's front-proxy certificate; the login itself stays here. What a server
 *   behind needs to believe that is in the ConfigMap `extension-apiserver-authentication` of `kube-system`.
 * - Its certificate must be for `NAME.NAMESPACE.svc`, of `caBundle` (else of the system's authorities), unless `insecureSkipTLSVerify`.
 * - `status` says whether it answers (`availability.ts`); while it does not, requests are answered with 503.
 * - Discovery and OpenAPI show it beside what is served here, by its priorities, from what it said last.
 *
 * Built-in groups and versions cannot be taken over, but for metrics.k8s.io. A group and version of custom resources is the APIService's
 * while there is one.
 */
import { X509Certificate } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { outsideTls } from '#lib/authorities.ts';
import { builtinKinds } from '../../kinds/builtin.ts';
import { apiServices } from '../../kinds/resources.ts';
import type { APIService } from '../../kinds/types/apiregistration.ts';
import type { APIResource } from '../../kinds/types/meta.ts';
import { type Cache, kindPrefix, objectOf } from '../cache.ts';
import type { User } from '../exchange.ts';

/** How this server proves itself to those behind it. PEM. */
export interface FrontProxy {
  certificate: string;
  key: string;
  /** Of the certificate's authority, which signs nothing else. */
  ca: string;
}

export interface RemoteApi {
  /** `VERSION.GROUP` */
  name: string;
  group: string;
  version: string;
  service: { namespace: string; name: string; port: number };
  groupPriority: number;
  versionPriority: number;
  /** How it is verified, and how this server proves itself. */
  tls: ConnectionOptions;
  /** As it said last; nothing before it answered once. */
  told: Told;
}

export interface Told {
  available: boolean;
  resources: APIResource[];
  /** The hash of its OpenAPI v3 document, and its document of version 2, where it has them. */
  openApi3?: string;
  openApi2?: { definitions: Record<string, unknown>; paths: Record<string, unknown> };
}

/** Served here whatever an APIService says. */
const OWN = new Set(builtinKinds.filter(({ computed }) => computed !== true).map(keyOf));

export class Aggregation {
  readonly #byKey = new Map<string, RemoteApi>();
  readonly #specs = new Map<string, string>();
  readonly #frontProxy: FrontProxy | undefined;
  /** Changes with what is aggregated, and with what it tells of itself. */
  generation = 1;
  /** Told of one that could not be reached. */
  doubted: (api: RemoteApi) => void = () => undefined;

  /** The cache must be filled. */
  constructor(cache: Cache, frontProxy: FrontProxy | undefined) {
    if (frontProxy !== undefined) new X509Certificate(frontProxy.certificate);
    this.#frontProxy = frontProxy;
    const resource = cache.resource(kindPrefix(apiServices));
    for (const object of resource.objects.values()) this.#put(objectOf(object) as unknown as APIService);
    resource.listeners.add(({ type, object, parsed }) => {
      if (type === 'delete') this.#remove(object.name);
      else if (parsed !== undefined) this.#put(parsed as unknown as APIService);
    });
  }

  /** Undefined for what is served here. */
  find(group: string, version: string): RemoteApi | undefined {
    return this.#byKey.size === 0 ? undefined : this.#byKey.get(keyOf({ group, version }));
  }

  all(): RemoteApi[] {
    return [...this.#byKey.values()];
  }

  tell(api: RemoteApi, told: Told): void {
    api.told = told;
    this.generation++;
  }

  #put({ metadata, spec }: APIService): void {
    const name = metadata.name ?? '';
    const said = JSON.stringify(spec);
    if (this.#specs.get(name) === said) return;
    this.#remove(name);
    const { group = '', version = '', service } = spec ?? {};
    if (spec === undefined || !service || OWN.has(keyOf({ group, version }))) return;
    this.#specs.set(name, said);
    this.#byKey.set(keyOf({ group, version }), {
      name,
      group,
      version,
      service: { namespace: service.namespace ?? '', name: service.name ?? '', port: service.port ?? 443 },
      groupPriority: spec.groupPriorityMinimum,
      versionPriority: spec.versionPriority,
      tls: this.#tls(spec),
      told: { available: false, resources: [] },
    });
    this.generation++;
  }

  #remove(name: string): void {
    const said = this.#specs.get(name);
    if (said === undefined) return;
    this.#specs.delete(name);
    for (const [key, api] of this.#byKey) if (api.name === name) this.#byKey.delete(key);
    this.generation++;
  }

  #tls({ service, caBundle, insecureSkipTLSVerify }: NonNullable<APIService['spec']>): ConnectionOptions {
    const { certificate, key } = this.#frontProxy ?? {};
    return {
      servername: `${service?.name}.${service?.namespace}.svc`,
      rejectUnauthorized: insecureSkipTLSVerify !== true,
      ...(caBundle ? { ca: Buffer.from(caBundle, 'base64') } : outsideTls()),
      ...(certificate === undefined ? {} : { cert: certificate, key }),
    };
  }
}

function keyOf({ group, version }: { group: string; version: string }): string {
  return `${group}/${version}`;
}

/** For requests of this server itself, to all servers behind it. */
export const AGGREGATOR: User = { name: 'system:aggregator', groups: ['system:masters'] };

export function remoteHeaders({ name, groups, uid, extra }: User): Record<string, string | string[]> {
  return {
    'x-remote-user': name,
    'x-remote-group': groups,
    ...(uid === undefined ? {} : { 'x-remote-uid': uid }),
    ...Object.fromEntries(
      // What a header's name cannot hold is escaped in it.
      Object.entries(extra ?? {}).map(([key, values]) => [`x-remote-extra-${escapeName(key.toLowerCase())}`, values]),
    ),
  };
}

function escapeName(key: string): string {
  return key.replace(/[^a-z0-9!#$&'*+.^_`|~-]/g, (character) => encodeURIComponent(character).replace(/^[^%]$/, hex));
}

function hex(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}
