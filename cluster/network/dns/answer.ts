/** Answers of the server's own: which zone a name is in, and what there is of the type that was asked for. */
import { type Query, RecordType, ResponseCode } from '#lib/dns/message.ts';
import { addressOfPointer } from '#lib/dns/name.ts';
import {
  type ResourceRecord,
  addressRecord,
  authorityRecord,
  nameRecord,
  serviceRecord,
  textRecord,
} from '#lib/dns/record.ts';
import type { Reply } from '#lib/dns/reply.ts';
import { type IpRange, parseIpRange } from '#lib/ip-range.ts';
import { overlaps } from '#lib/routes.ts';
import { isIPv4 } from 'node:net';
import type { ClusterView, DnsOptions } from './dns.ts';
import { internalRecords } from './internal-names.ts';
import { type RecordSet, type ServicePort, namesOf, recordsAt } from './zone.ts';

const SECONDS_TO_LIVE = 5;
/** Longer chains of aliases are nobody's wish. */
const MOST_ALIASES = 8;

export type Zones = Pick<DnsOptions, 'domain' | 'clusterIp' | 'clusterCidr' | 'serviceCidr' | 'ipv6' | 'localZones'>;

export interface OwnReply extends Reply {
  answers: ResourceRecord[];
  /** The answer goes on at this name, which is not ours. */
  leadsTo?: string;
}

/** Undefined where the name is in no zone of ours. Names at the end of a zone are told from others by the dot before. */
export function ownReply(
  zones: Zones,
  view: ClusterView,
  query: Pick<Query, 'name' | 'type'>,
  aliases = 0,
): OwnReply | undefined {
  const { name, type } = query;
  if (name === undefined) return undefined;
  const found = findZone(zones, view, name);
  if (found === undefined) return undefined;
  const { zone, records } = found;
  if (type === RecordType.transfer || type === RecordType.transferPart)
    return { code: ResponseCode.refused, answers: [] };
  const soa = authorityOf(zones, zone);
  if (records === undefined)
    return { code: ResponseCode.noSuchName, answers: [], authority: [soa], authoritative: true };
  if (records.alias !== undefined) {
    const alias = nameRecord('cname', name, SECONDS_TO_LIVE, records.alias);
    if (type === RecordType.cname) return { answers: [alias], authoritative: true };
    // They may lead in a circle.
    if (aliases >= MOST_ALIASES) return { code: ResponseCode.serverFailure, answers: [] };
    const next = ownReply(zones, view, { name: records.alias.toLowerCase(), type }, aliases + 1);
    if (next === undefined) return { answers: [alias], authoritative: true, leadsTo: records.alias };
    return next.code === ResponseCode.serverFailure ? next : { ...next, answers: [alias, ...next.answers] };
  }
  const apex = name === zone && zone === zones.domain ? apexRecords(zones, type, soa) : [];
  const reply = recordsOf(name, type, records, zones.domain);
  const answers = [...apex, ...reply.answers];
  return { ...reply, answers, authoritative: true, ...(answers.length === 0 && { authority: [soa] }) };
}

function findZone(
  zones: Zones,
  view: ClusterView,
  name: string,
): { zone: string; records: RecordSet | undefined } | undefined {
  const { domain, clusterIp } = zones;
  if (name === domain || name.endsWith(`.${domain}`)) {
    const labels = name.slice(0, -domain.length - 1).split('.');
    return { zone: domain, records: recordsAt(view, name === domain ? [] : labels, clusterIp) };
  }
  for (const { domain: local, address } of zones.localZones)
    if (name === local || name.endsWith(`.${local}`)) return { zone: local, records: { addresses: [address] } };
  const internal = internalRecords(view, name);
  if (internal !== undefined) return internal;
  const ip = addressOfPointer(name);
  if (ip === undefined) return undefined;
  const pointers = namesOf(view, ip).map((target) => `${target}.${domain}`);
  const range = rangesOf(zones).find((cidr) => overlaps(cidr, ip));
  if (pointers.length === 0 && range === undefined) return undefined;
  const zone = reverseZone(range ?? ip);
  return { zone, records: pointers.length === 0 ? undefined : { addresses: [], pointers } };
}

function rangesOf({ serviceCidr, clusterCidr, ipv6 }: Zones): string[] {
  return [serviceCidr, clusterCidr, ...(ipv6 === undefined ? [] : [ipv6.serviceCidr, ipv6.clusterCidr])];
}

function recordsOf(name: string, type: number, records: RecordSet, domain: string): OwnReply {
  const { addresses, services, text, pointers = [] } = records;
  switch (type) {
    case RecordType.a:
    case RecordType.any:
      return {
        answers: shuffled(addresses.filter((ip) => isIPv4(ip))).map((ip) => addressRecord(name, SECONDS_TO_LIVE, ip)),
      };
    case RecordType.aaaa:
      return {
        answers: shuffled(addresses.filter((ip) => !isIPv4(ip))).map((ip) => addressRecord(name, SECONDS_TO_LIVE, ip)),
      };
    case RecordType.srv:
      return serviceReply(name, services?.() ?? [], domain);
    case RecordType.txt:
      return { answers: text === undefined ? [] : [textRecord(name, SECONDS_TO_LIVE, text)] };
    case RecordType.ptr:
      return { answers: pointers.map((target) => nameRecord('ptr', name, SECONDS_TO_LIVE, target)) };
    default:
      return { answers: [] };
  }
}

/** One priority, and a hundred shared out evenly as weight. */
function serviceReply(name: string, ports: ServicePort[], domain: string): OwnReply {
  const weight = Math.max(1, Math.floor(100 / ports.length));
  const answers = ports.map(({ port, target }) =>
    serviceRecord(name, SECONDS_TO_LIVE, { priority: 0, weight, port, target: `${target}.${domain}` }),
  );
  const targets = new Map(ports.map(({ target, addresses }) => [target, addresses]));
  const additional = [...targets].flatMap(([target, addresses]) =>
    addresses.map((ip) => addressRecord(`${target}.${domain}`, SECONDS_TO_LIVE, ip)),
  );
  return { answers, additional };
}

function apexRecords({ domain }: Zones, type: number, soa: ResourceRecord): ResourceRecord[] {
  if (type === RecordType.soa) return [soa];
  return type === RecordType.ns ? [nameRecord('ns', domain, SECONDS_TO_LIVE, `ns.dns.${domain}`)] : [];
}

function authorityOf({ domain }: Zones, zone: string): ResourceRecord {
  return authorityRecord(zone, SECONDS_TO_LIVE, {
    server: `ns.dns.${domain}`,
    mailbox: `hostmaster.${domain}`,
    // Nobody copies the zone: the number only has to be one.
    serial: 1,
    minimum: SECONDS_TO_LIVE,
  });
}

/** The nearest zone above the range: names have whole octets, and of IPv6 whole hexadecimal digits. */
function reverseZone(range: string): string {
  const { family, base, bits } = parseIpRange(range) as IpRange;
  const [length, unit, radix, suffix] =
    family === 4 ? ([32, 8, 10, 'in-addr'] as const) : ([128, 4, 16, 'ip6'] as const);
  const labels = Array.from({ length: Math.floor(bits / unit) }, (_, index) => {
    const shift = BigInt(length - unit * (index + 1));
    return ((base >> shift) & ((1n << BigInt(unit)) - 1n)).toString(radix);
  });
  return [...labels.reverse(), suffix, 'arpa'].join('.');
}

/** Who asks again spreads its connections. */
function shuffled(addresses: string[]): string[] {
  const order = [...addresses];
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [order[last], order[other]] = [order[other] as string, order[last] as string];
  }
  return order;
}
