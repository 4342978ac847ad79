/**
 * Says in the status of each APIService whether it answers, in the order of upstream's checks: the Service, its port, its endpoints, its
 * discovery document. A check follows each change of what it depends on; one that failed is tried again after 0.2 s doubling to 30 s, and
 * one that passed is repeated every 30 s, since nobody tells when a server stops to answer.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { localCondition } from '../../kinds/api-service.ts';
import type { ApiObject } from '../../kinds/kind.ts';
import { apiServices, endpointSlices, services } from '../../kinds/resources.ts';
import type { APIService, APIServiceCondition } from '../../kinds/types/apiregistration.ts';
import type { Service } from '../../kinds/types/core.ts';
import type { APIResource } from '../../kinds/types/meta.ts';
import { OWN_WRITE } from '../bootstrap.ts';
import { type CachedObject, kindPrefix, objectOf } from '../cache.ts';
import type { Core } from '../core.ts';
import { StatusError } from '../errors.ts';
import { timestamp } from '../timestamp.ts';
import { changeObject } from '../update.ts';
import { servicePlace } from '../workload-proxy.ts';
import type { RemoteApi, Told } from './aggregation.ts';
import { askRemote, Unexpected } from './ask.ts';

const FIRST_RETRY = 200;
const PERIOD = 30_000;
const ANSWER_TIMEOUT = 5000;
const SERVICE_NAME = 'kubernetes.io/service-name';

type Verdict = Omit<APIServiceCondition, 'type' | 'lastTransitionTime'> & { told?: Told };

export class Availability {
  readonly #core: Core;
  readonly #ended = new AbortController();
  /** By the APIService's name: ends its wait for the next check. */
  readonly #loops = new Map<string, { wake: () => void; done: Promise<void> }>();

  /** The cache must be filled. */
  constructor(core: Core) {
    this.#core = core;
    const { cache, aggregation } = core;
    // Somebody could not reach it: it is looked at before its time.
    aggregation.doubted = ({ name }) => this.#loops.get(name)?.wake();
    const own = cache.resource(kindPrefix(apiServices));
    for (const { name } of own.objects.values()) this.#follow(name);
    own.listeners.add(({ type, object, previous, parsed }) => {
      if (type === 'delete') this.#loops.get(object.name)?.wake();
      // Not after each status that is written here: a message may differ from check to check.
      else if (previous === undefined || !isDeepStrictEqual(parsed?.['spec'], objectOf(previous)['spec']))
        this.#follow(object.name);
    });
    const wakeOf =
      (serviceOf: (object: CachedObject) => string | undefined) =>
      ({ object }: { object: CachedObject }) => {
        if (this.#loops.size > 0) this.#wakeBehind(object.namespace, serviceOf(object));
      };
    cache.resource(kindPrefix(services)).listeners.add(wakeOf(({ name }) => name));
    cache.resource(kindPrefix(endpointSlices)).listeners.add(wakeOf(({ labels }) => labels?.[SERVICE_NAME]));
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await Promise.all([...this.#loops.values()].map(({ done }) => done));
  }

  #wakeBehind(namespace: string, service: string | undefined): void {
    for (const { name, service: own } of this.#core.aggregation.all())
      if (own.namespace === namespace && own.name === service) this.#loops.get(name)?.wake();
  }

  /** Of those that are served here nothing can be wrong: only what is left of another time is put right. */
  #follow(name: string): void {
    const known = this.#loops.get(name);
    if (known !== undefined) return known.wake();
    if (this.#ended.signal.aborted) return;
    const object = this.#read(name);
    if (object === undefined || (object.spec?.service === undefined && isLocal(object))) return;
    let wake: () => void = () => undefined;
    const loop = {
      wake: () => wake(),
      done: this.#run(name, (next) => (wake = next)).finally(() => this.#loops.delete(name)),
    };
    this.#loops.set(name, loop);
  }

  async #run(name: string, onWake: (wake: () => void) => void): Promise<void> {
    // What wakes it while it works counts for the next round.
    for (let wait = FIRST_RETRY; !this.#ended.signal.aborted; ) {
      const sleep = new AbortController();
      onWake(() => sleep.abort());
      const object = this.#read(name);
      if (object === undefined) return;
      const verdict = await this.#judge(object);
      await this.#write(name, verdict).catch((error: unknown) => {
        this.#core.log('warn', 'the status of an APIService could not be written', { name, error: String(error) });
      });
      if (verdict.reason === 'Local' && !sleep.signal.aborted) return;
      wait = verdict.status === 'True' ? FIRST_RETRY : Math.min(PERIOD, wait * 2);
      const pause = verdict.status === 'True' ? PERIOD : wait;
      const signal = AbortSignal.any([sleep.signal, this.#ended.signal]);
      await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  #read(name: string): APIService | undefined {
    const cached = this.#core.cache.resource(kindPrefix(apiServices)).objects.get(kindPrefix(apiServices) + name);
    return cached === undefined ? undefined : (objectOf(cached) as unknown as APIService);
  }

  async #judge({ spec }: APIService): Promise<Verdict> {
    const { group = '', version = '', service } = spec ?? {};
    const api = this.#core.aggregation.find(group, version);
    if (api === undefined) {
      if (!service) return localCondition(0);
      return no('ServiceNotUsed', `${group}/${version} is served by this server itself`);
    }
    const verdict = this.#judgeService(api) ?? (await this.#judgeAnswer(api));
    this.#core.aggregation.tell(api, verdict.told ?? { ...api.told, available: false });
    return verdict;
  }

  #judgeService({ service: { namespace, name, port } }: RemoteApi): Verdict | undefined {
    const where = `service/${name} in ${JSON.stringify(namespace)}`;
    const key = `${kindPrefix(services)}${namespace}/${name}`;
    const cached = this.#core.cache.resource(kindPrefix(services)).objects.get(key);
    if (cached === undefined) return no('ServiceNotFound', `${where} is not present`);
    const found = (objectOf(cached) as Service).spec?.ports?.find((one) => one.port === port);
    if (found === undefined) return no('ServicePortError', `${where} is not listening on port ${port}`);
    try {
      servicePlace(this.#core, namespace, { secure: true, name, port: String(port) });
      return undefined;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      const portName = JSON.stringify(found.name ?? '');
      return no('MissingEndpoints', `endpoints for ${where} have no addresses with port name ${portName}`);
    }
  }

  async #judgeAnswer(api: RemoteApi): Promise<Verdict> {
    const path = `/apis/${api.group}/${api.version}`;
    const signal = AbortSignal.any([AbortSignal.timeout(ANSWER_TIMEOUT), this.#ended.signal]);
    try {
      const { resources } = await askRemote<{ resources?: APIResource[] }>(this.#core, api, path, signal);
      const told = { available: true, resources: resources ?? [], ...(await this.#openApi(api, signal)) };
      return { status: 'True', reason: 'Passed', message: 'all checks passed', told };
    } catch (error) {
      const { namespace, name, port } = api.service;
      const url = `https://${name}.${namespace}.svc:${port}${path}`;
      const text = error instanceof Error ? error.message : String(error);
      return no('FailedDiscoveryCheck', `failing or missing response from ${url}: ${text}`);
    }
  }

  /** Not every server has such documents. */
  async #openApi(api: RemoteApi, signal: AbortSignal): Promise<Partial<Told>> {
    const ask = <T>(path: string): Promise<T | undefined> =>
      askRemote<T>(this.#core, api, path, signal).catch((error: unknown) => {
        if (error instanceof Unexpected) return undefined;
        throw error;
      });
    const [third, second] = await Promise.all([
      ask<{ paths?: Record<string, { serverRelativeURL?: string }> }>('/openapi/v3'),
      ask<NonNullable<Told['openApi2']>>('/openapi/v2'),
    ]);
    const url = third?.paths?.[`apis/${api.group}/${api.version}`]?.serverRelativeURL;
    const { definitions = {}, paths = {} } = second ?? {};
    return {
      ...(url === undefined ? {} : { openApi3: new URL(url, 'https://it').searchParams.get('hash') ?? '' }),
      ...(second === undefined ? {} : { openApi2: { definitions, paths } }),
    };
  }

  async #write(name: string, { status, reason, message }: Verdict): Promise<void> {
    const { registry, now } = this.#core;
    const kind = registry.find(apiServices.group, apiServices.version, apiServices.resource);
    const shown = this.#read(name)?.status?.conditions?.find(({ type }) => type === 'Available');
    if (kind === undefined) return;
    if (shown?.status === status && shown.reason === reason && shown.message === message) return;
    const change = (current: ApiObject) => {
      const service = current as unknown as APIService;
      const conditions = service.status?.conditions ?? [];
      const before = conditions.find(({ type }) => type === 'Available');
      const lastTransitionTime = (before?.status === status && before.lastTransitionTime) || timestamp(now());
      const condition: APIServiceCondition = { type: 'Available', status, lastTransitionTime };
      if (reason !== undefined) condition.reason = reason;
      if (message !== undefined) condition.message = message;
      service.status = { conditions: [...conditions.filter(({ type }) => type !== 'Available'), condition] };
      delete current.metadata.resourceVersion;
      return current;
    };
    await changeObject(this.#core, kind, { namespace: '', name }, OWN_WRITE, { part: 'status', change }).catch(
      (error: unknown) => {
        if (!(error instanceof StatusError && error.reason === 'NotFound')) throw error;
      },
    );
  }
}

function no(reason: string, message: string): Verdict {
  return { status: 'False', reason, message };
}

function isLocal({ status }: APIService): boolean {
  return status?.conditions?.some(({ type, reason }) => type === 'Available' && reason === 'Local') === true;
}
