/** Routes on internal domains as names in the cluster's DNS: each process's Service has those that lead to it. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Service } from '#cluster/kinds/types/core.ts';
import type { Informers } from '../resources/informers.ts';
import { services } from '../resources/kubernetes.ts';
import { domains, labels, processes, type Route, routes } from '../resources/types.ts';

/** Read by `cluster/network/dns`. */
const ANNOTATION = 'dns.sampan.dev/names';

export async function writeNames(informers: Informers): Promise<void> {
  const internal = new Set(
    informers
      .of(domains)
      .list()
      .filter(({ spec }) => spec.internal)
      .map(({ metadata }) => metadata.name),
  );
  const named = informers
    .of(routes)
    .list()
    .filter(({ spec }) => internal.has(spec.domain) && spec.host !== '');
  for (const service of informers.of(services).list()) {
    const names = namesOf(informers, service, named);
    if ((service.metadata.annotations?.[ANNOTATION] ?? '') !== names) await annotate(informers, service, names);
  }
}

function namesOf(informers: Informers, { metadata }: Stored<Service>, named: Stored<Route>[]): string {
  const process = informers.of(processes).byIndex('platform/guid', metadata.labels?.[labels.process] ?? '')[0];
  if (!process) return '';
  const { app, type } = process.spec;
  return named
    .filter(({ spec }) => spec.destinations.some((one) => one.app === app && one.processType === type))
    .map(({ spec }) => `${spec.host}.${spec.domainName}`)
    .sort()
    .join();
}

async function annotate(informers: Informers, { metadata }: Stored<Service>, names: string): Promise<void> {
  const body = { metadata: { uid: metadata.uid, annotations: { [ANNOTATION]: names === '' ? null : names } } };
  try {
    const { name, namespace = '' } = metadata;
    const stored = await informers.client.patch(services, name, { type: 'merge', body }, { namespace });
    await informers.of(services).reached(stored.metadata.resourceVersion, AbortSignal.timeout(10_000));
  } catch (error) {
    // Gone, or another by the same name: its informer tells.
    if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}
