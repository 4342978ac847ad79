/**
 * Keeps certificates as they should be: see `certificates.ts`. Level-triggered: every change, and the next time at which one is due, compares
 * what there should be with what there is, once for all changes of one turn.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { createEventRecorder } from '#cluster/client/event-recorder.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import type { Informers } from '../resources/informers.ts';
import { secrets } from '../resources/kubernetes.ts';
import {
  type DomainCertificate,
  domainCertificates,
  domains,
  labels,
  type Route,
  routes,
  systemNamespace,
} from '../resources/types.ts';
import type { HostCertificate } from '../router/model.ts';
import { Challenges } from './acme/challenges.ts';
import { acmeIssuer, type Issue } from './acme/issuer.ts';
import { AcmeError } from './acme/problem.ts';
import type { AcmeSettings, CertificateSide, OwnAuthority } from './certificates.ts';
import { forgetCertificate, forgetNext, type KeptCertificate, keepCertificate, readKept, secretName } from './kept.ts';
import { retryTime } from './schedule.ts';
import { dueTime, offeredOf, standing, type Standing, text } from './standing.ts';
import { wantedCertificates } from './wanted.ts';

export interface CertificatesOptions {
  informers: Informers;
  /** The instance's own. */
  domain: string;
  systemHosts: readonly string[];
  /** Absent: nothing comes by ACME, and what came is no longer offered. */
  acme?: AcmeSettings | undefined;
  own: OwnAuthority;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  now?: () => number;
}

/** At once; the others wait. */
const MOST_AT_ONCE = 4;
const LONGEST_SLEEP = 60 * 60_000;
const RETRY = 1000;

export function openCertificates(options: CertificatesOptions): CertificateSide {
  const { informers, log, now = Date.now } = options;
  const { client } = informers;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const listeners = new Set<() => void>();
  const tell = (): void => {
    offered = undefined;
    for (const listener of listeners) listener();
  };
  let offered: HostCertificate[] | undefined;
  const challenges = new Challenges(tell);
  const onError = (error: unknown): void =>
    log('warn', 'Certificates are not followed as they should', { error: String(error) });
  const kept = createInformer<Secret>(client, secrets, {
    namespace: systemNamespace,
    labelSelector: labels.certificate,
    onError,
  });
  const recorder = createEventRecorder({ client, component: 'sampan-certificates', onError });
  const read = reader();
  const issuers: Partial<Record<DomainCertificate['spec']['source'], Issue>> = {
    own: (_name, hosts) => options.own(hosts),
    ...(options.acme && {
      acme: acmeIssuer({ client, settings: options.acme, challenges, signal, now }),
    }),
  };

  const all = (): Standing[] =>
    informers
      .of(domainCertificates)
      .list()
      .map((certificate) => ({
        certificate,
        kept: read(kept.get(secretName(certificate.metadata.name), systemNamespace)),
      }));

  const record = (
    certificate: Stored<DomainCertificate>,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
  ): void =>
    recorder.record(
      { apiVersion: 'platform.sampan.dev/v1', kind: domainCertificates.kind, metadata: certificate.metadata },
      { type, reason, message },
    );

  /** Resolves when it is read here too: what was just done is not begun again. */
  const setStatus = async (name: string, status: object): Promise<void> => {
    const stored = await patchStatus(client, name, status);
    if (stored !== undefined) await informers.of(domainCertificates).reached(stored.metadata.resourceVersion, signal);
  };

  /** Makes objects for what should be there, and takes away what should not. */
  const settle = async (): Promise<void> => {
    const present = informers.of(domainCertificates).list();
    const servedDomains = informers.of(domains).list();
    const wanted = wantedCertificates({
      domains: servedDomains,
      routes: informers.of(routes).list(),
      certificates: present,
      domain: options.domain,
      systemHosts: options.systemHosts,
      acme: options.acme !== undefined,
    });
    const guids = new Set(servedDomains.map(({ metadata }) => metadata.name));
    for (const { metadata, spec } of present) {
      const stays = spec.source === 'uploaded' ? guids.has(spec.domain) : wanted.has(metadata.name);
      if (stays) wanted.delete(metadata.name);
      else if (!running.has(metadata.name)) await remove(client, metadata.name);
    }
    for (const [name, spec] of wanted) {
      if (present.some(({ metadata }) => metadata.name === name)) continue;
      await client.create(domainCertificates, { metadata: { name }, spec }).catch((error: unknown) => {
        if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
      });
    }
  };

  const running = new Map<string, Promise<void>>();

  const issue = async (certificate: Stored<DomainCertificate>, by: Issue): Promise<void> => {
    const { name } = certificate.metadata;
    const { hosts } = certificate.spec;
    try {
      const stored = await keepCertificate(client, name, await by(name, hosts));
      await forgetNext(client, name);
      await setStatus(name, { failures: 0, error: null, nextAttempt: null });
      await kept.reached(stored.metadata.resourceVersion, signal);
      record(certificate, 'Normal', 'Issued', `There is a new certificate for ${hosts.join(', ')}`);
    } catch (error) {
      if (signal.aborted) return;
      await failed(certificate, error);
    }
  };

  const failed = async (certificate: Stored<DomainCertificate>, error: unknown): Promise<void> => {
    const failures = (certificate.status?.failures ?? 0) + 1;
    const known = error instanceof AcmeError ? error : undefined;
    const next = retryTime(now(), failures, known?.notBefore);
    const detail = error instanceof Error ? error.message : String(error);
    const hosts = certificate.spec.hosts.join(', ');
    log('warn', 'There is no new certificate', { hosts, error: detail, failures, next: text(next) });
    record(certificate, 'Warning', 'Failed', `There is no new certificate for ${hosts}: ${detail}`);
    const said = { type: known?.type ?? known?.code ?? 'internal', detail };
    await setStatus(certificate.metadata.name, { failures, error: said, nextAttempt: text(next) });
  };

  /** Begins what is due. Resolves with the time when something else will be. */
  const work = async (): Promise<number> => {
    let next = Number.POSITIVE_INFINITY;
    for (const one of all()) {
      const { certificate, kept: has } = one;
      const { name } = certificate.metadata;
      const status = standing(certificate, has, now());
      if (!isPart(status, certificate.status)) await setStatus(name, status);
      if (has !== undefined && has.notAfter > now()) next = Math.min(next, has.notAfter);
      const by = issuers[certificate.spec.source];
      if (by === undefined || running.has(name)) continue;
      const due = dueTime(certificate, has);
      if (due > now()) next = Math.min(next, due);
      else if (running.size < MOST_AT_ONCE) begin(certificate, by);
    }
    return next;
  };

  const begin = (certificate: Stored<DomainCertificate>, by: Issue): void => {
    const { name } = certificate.metadata;
    const ended = issue(certificate, by)
      .catch(onError)
      .finally(() => {
        running.delete(name);
        changed();
      });
    running.set(name, ended);
  };

  let synced = false;
  let scheduled = false;
  let timer: NodeJS.Timeout | undefined;
  let converging: Promise<void> = Promise.resolve();
  const changed = (): void => {
    if (!synced || scheduled || signal.aborted) return;
    scheduled = true;
    setImmediate(() => {
      converging = converging.then(converge);
    });
  };
  const converge = async (): Promise<void> => {
    scheduled = false;
    clearTimeout(timer);
    if (signal.aborted) return;
    try {
      await settle();
      const next = await work();
      timer = setTimeout(wake, Math.max(1, Math.min(LONGEST_SLEEP, next - now())));
    } catch (error) {
      if (signal.aborted) return;
      onError(error);
      await delay(RETRY, undefined, { signal }).catch(() => undefined);
      changed();
    }
  };
  /** What was offered may be over. */
  const wake = (): void => {
    tell();
    changed();
  };

  const unsubscribe = [
    informers.of(domains).onChange(changed),
    informers.of(routes).onChange((route, old) => {
      if (placeOf(route) !== placeOf(old)) changed();
    }),
    informers.of(domainCertificates).onChange(() => {
      tell();
      changed();
    }),
    kept.onChange(() => {
      tell();
      changed();
    }),
  ];
  const ready = Promise.all([
    kept.synced,
    ...[domains, routes, domainCertificates].map((resource) => informers.of(resource as typeof domains).synced),
  ]).then(() => {
    synced = true;
    changed();
  });
  ready.catch(() => undefined);

  return {
    synced: ready,
    offered: () => (offered ??= offeredOf(all(), now())),
    challenges: () => challenges.answers,
    served: (answers) => challenges.served(answers),
    onChange: (listener) => void listeners.add(listener),
    async close() {
      stop.abort();
      clearTimeout(timer);
      for (const end of unsubscribe) end();
      await converging;
      await Promise.all(running.values());
      kept.close();
      await recorder.flush();
    },
  };
}

/** Keys and chains are parsed once for each revision. */
function reader(): (secret: Stored<Secret> | undefined) => KeptCertificate | undefined {
  const known = new WeakMap<Stored<Secret>, { value: KeptCertificate | undefined }>();
  return (secret) => {
    if (secret === undefined) return undefined;
    const found = known.get(secret) ?? { value: readKept(secret) };
    known.set(secret, found);
    return found.value;
  };
}

/** What of a route a certificate depends on. */
function placeOf(route: Stored<Route> | undefined): string {
  if (route === undefined) return '';
  const { host, domainName, destinations, protocol } = route.spec;
  return `${host}.${domainName} ${protocol} ${destinations.length > 0}`;
}

async function remove(client: Client, name: string): Promise<void> {
  await forgetCertificate(client, name);
  await orUndefined(client.delete(domainCertificates, name));
}

/** Undefined when it was taken away meanwhile. */
async function patchStatus(
  client: Client,
  name: string,
  status: object,
): Promise<Stored<DomainCertificate> | undefined> {
  return await orUndefined(
    client.patch(domainCertificates, name, { type: 'merge', body: { status } }, { subresource: 'status' }),
  );
}

function isPart(part: object, whole: object | undefined): boolean {
  return Object.entries(part).every(([key, value]) => (whole as Record<string, unknown> | undefined)?.[key] === value);
}
