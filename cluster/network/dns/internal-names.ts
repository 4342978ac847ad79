/**
 * Names below `internal` that Services have besides their own: the annotation `dns.sampan.dev/names`, with commas between. A name
 * leads to what all its Services lead to. Below `apps.internal` there is nothing else; other names below `internal`, which ICANN
 * has set aside for private networks, may be the host's.
 */
import type { ObjectMeta } from '../../kinds/types/meta.ts';
import type { ClusterView } from './dns.ts';
import { type RecordSet, recordsAt } from './zone.ts';

const ANNOTATION = 'dns.sampan.dev/names';
const TOP = '.internal';
const ZONE = 'apps.internal';

export function internalNames({ annotations }: ObjectMeta): string[] {
  const names = (annotations?.[ANNOTATION] ?? '').toLowerCase().split(',');
  return names.map((name) => name.trim()).filter((name) => name.endsWith(TOP));
}

/** Undefined where the name is nobody's here. */
export function internalRecords(
  view: ClusterView,
  name: string,
): { zone: string; records: RecordSet | undefined } | undefined {
  if (!name.endsWith(TOP)) return undefined;
  const services = view.servicesNamed(name);
  if (services.length > 0) {
    const addresses = services.flatMap(
      ({ metadata }) => recordsAt(view, [metadata.name, metadata.namespace ?? '', 'svc'], '')?.addresses ?? [],
    );
    return { zone: ZONE, records: { addresses: [...new Set(addresses)] } };
  }
  if (name === ZONE) return { zone: ZONE, records: { addresses: [] } };
  return name.endsWith(`.${ZONE}`) ? { zone: ZONE, records: undefined } : undefined;
}
