/** Keeps a drain for each app and target that bindings say: see `drains.ts`. Level-triggered: every change compares them all. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { LogEnvelope, Logs } from '../logs/logs.ts';
import { namesOf } from '../metrics/app-names.ts';
import type { Informers } from '../resources/informers.ts';
import { secrets } from '../resources/kubernetes.ts';
import { type ServiceInstance, serviceBindings, serviceInstances } from '../resources/types.ts';
import { Drain } from './drain.ts';
import type { Drains, Sender, Target } from './drains.ts';
import { rfc5424 } from './rfc5424.ts';
import { senderOf } from './senders.ts';

export interface DrainsOptions {
  informers: Informers;
  logs: Pick<Logs, 'subscribe' | 'emit'>;
  guard: AddressGuard;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

interface Open {
  drain: Drain;
  unsubscribe: () => void;
}

export async function openDrains(options: DrainsOptions): Promise<Drains> {
  const { informers, logs } = options;
  const bindings = informers.of(serviceBindings);
  const instances = informers.of(serviceInstances);
  await Promise.all([bindings.synced, instances.synced]);
  const open = new Map<string, Open>();
  let scheduled = false;
  let closed = false;

  const start = (app: string, instance: Stored<ServiceInstance>): Open => {
    const url = new URL(instance.spec.syslogDrainUrl ?? '');
    const drain = new Drain({
      app,
      target: url.host,
      format: (envelope: LogEnvelope) => rfc5424(envelope, namesOf(informers, app)),
      sender: () => sender(options, instance, url),
      say: (message) => logs.emit({ sourceId: app, sourceType: 'LGR', type: 'ERR', message }),
    });
    return { drain, unsubscribe: logs.subscribe(app, (envelopes) => drain.push(envelopes)) };
  };

  const converge = (): void => {
    scheduled = false;
    if (closed) return;
    const wanted = new Map<string, () => Open>();
    for (const binding of bindings.list()) {
      const instance = instances.byIndex('platform/guid', binding.spec.instance)[0];
      const url = instance?.spec.syslogDrainUrl;
      if (instance === undefined || !isUrl(url) || binding.metadata.deletionTimestamp) continue;
      const { app } = binding.spec;
      wanted.set(`${app} ${instance.metadata.name} ${url}`, () => start(app, instance));
    }
    for (const [key, { drain, unsubscribe }] of open) {
      if (wanted.has(key)) continue;
      open.delete(key);
      unsubscribe();
      void drain.close();
    }
    for (const [key, begin] of wanted) if (!open.has(key)) open.set(key, begin());
  };
  const changed = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(converge);
  };
  const ends = [bindings.onChange(changed), instances.onChange(changed)];
  converge();
  return {
    status: () => [...open.values()].map(({ drain }) => drain.status()),
    async close() {
      closed = true;
      for (const end of ends) end();
      for (const { unsubscribe } of open.values()) unsubscribe();
      await Promise.all([...open.values()].map(({ drain }) => drain.close()));
    },
  };
}

function isUrl(text: string | undefined): text is string {
  return text !== undefined && URL.canParse(text);
}

/** Credentials are read when a connection is made: they may be new, and rest where Secrets rest. */
async function sender(
  { informers, guard }: DrainsOptions,
  instance: Stored<ServiceInstance>,
  url: URL,
): Promise<Sender> {
  const { name, namespace = '' } = instance.metadata;
  const secret = await informers.client.get(secrets, `env-service-${name}`, namespace).catch(() => undefined);
  const text = Buffer.from(secret?.data?.['credentials'] ?? '', 'base64').toString() || '{}';
  const credentials = JSON.parse(text) as Record<string, unknown>;
  const tls: Target['tls'] = {};
  for (const key of ['ca', 'cert', 'key'] as const) {
    const value = credentials[key];
    if (typeof value === 'string' && value !== '') tls[key] = value;
  }
  return senderOf({ url, tls }, guard);
}
