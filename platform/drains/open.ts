/** Keeps a drain for each app and target that bindings say: see `drains.ts`. Level-triggered: every change compares them all. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { LogEnvelope, Logs } from '../logs/logs.ts';
import { namesOf } from '../metrics/app-names.ts';
import type { Informers } from '../resources/informers.ts';
import { serviceBindings, serviceInstances } from '../resources/service-types.ts';
import { readCredentials } from '../services/credentials.ts';
import { isBound } from '../services/operations.ts';
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

  const start = (app: string, source: Stored<ClientObject>, address: string): Open => {
    const url = new URL(address);
    const drain = new Drain({
      app,
      target: url.host,
      format: (envelope: LogEnvelope) => rfc5424(envelope, namesOf(informers, app)),
      sender: () => sender(options, source, url),
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
      const { app, request } = binding.spec;
      // A broker's service gives each binding a drain of its own.
      const source = request ? binding : instance;
      const url = request ? isBound(binding) && binding.status?.syslogDrainUrl : instance?.spec.syslogDrainUrl;
      if (source === undefined || app === undefined || !isUrl(url) || binding.metadata.deletionTimestamp) continue;
      wanted.set(`${app} ${source.metadata.name} ${url}`, () => start(app, source, url));
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

function isUrl(text: string | false | undefined): text is string {
  return typeof text === 'string' && URL.canParse(text);
}

/** Credentials are read when a connection is made: they may be new, and rest where Secrets rest. */
async function sender({ informers, guard }: DrainsOptions, source: Stored<ClientObject>, url: URL): Promise<Sender> {
  const credentials = await readCredentials(informers.client, source).catch((): Record<string, unknown> => ({}));
  const tls: Target['tls'] = {};
  for (const key of ['ca', 'cert', 'key'] as const) {
    const value = credentials[key];
    if (typeof value === 'string' && value !== '') tls[key] = value;
  }
  return senderOf({ url, tls }, guard);
}
