/** The specification ("Kubernetes DNS-Based Service Discovery", schema version 1.1.0) as a table. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordType, ResponseCode } from '#lib/dns/message.ts';
import { answersOf, readReply } from '#lib/dns/received.ts';
import type { ResourceRecord } from '#lib/dns/record.ts';
import { questionOf } from '#testing/dns-fuzz.ts';
import { serveDns } from '#testing/dns-upstream.ts';
import type { Stored } from '../../kinds/kind.ts';
import type { Service, ServiceSpec } from '../../kinds/types/core.ts';
import type { EndpointSlice } from '../../kinds/types/discovery.ts';
import { type ClusterView, type DnsOptions, clusterDnsAddress } from './dns.ts';
import { internalNames } from './internal-names.ts';
import { Answerer } from './start.ts';

const meta = (namespace: string, name: string) => ({
  namespace,
  name,
  uid: name,
  resourceVersion: '1',
  creationTimestamp: '',
});
const service = (namespace: string, name: string, spec: ServiceSpec, names?: string): Stored<Service> =>
  ({
    metadata: { ...meta(namespace, name), ...(names && { annotations: { 'dns.sampan.dev/names': names } }) },
    spec,
  }) as Stored<Service>;
const slice = (
  namespace: string,
  name: string,
  endpoints: EndpointSlice['endpoints'],
  ports: EndpointSlice['ports'] = [],
): Stored<EndpointSlice> =>
  ({
    metadata: { ...meta(namespace, `${name}-1`), labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints,
    ports,
  }) as Stored<EndpointSlice>;

const http = { name: 'http', port: 80, protocol: 'TCP' };
const services = [
  service('default', 'kubernetes', { clusterIP: '10.3.0.1', ports: [{ ...http, name: 'https', port: 443 }] }),
  service('default', 'two', {
    clusterIP: '10.3.0.2',
    ports: [{ ...http }, { name: 'dns', port: 53, protocol: 'UDP' }],
  }),
  service('default', 'unnamed', { clusterIP: '10.3.0.3', ports: [{ port: 80 }] }),
  service(
    'default',
    'headless',
    { clusterIP: 'None', ports: [{ ...http, port: 8080 }] },
    'Back.apps.internal,www.example.com',
  ),
  service('default', 'idle', { clusterIP: 'None', ports: [http] }, 'idle.apps.internal, both.apps.internal'),
  service('default', 'six', { clusterIP: 'None' }),
  service('default', 'named', { clusterIP: 'None', ports: [http] }),
  service('default', 'odd', { clusterIP: 'None', ports: [http] }, 'both.apps.internal'),
  service('default', 'long', { type: 'ExternalName', externalName: `${'x'.repeat(70)}.example.com` }),
  service('default', 'far', { type: 'ExternalName', externalName: 'www.example.com' }),
  service('default', 'near', { type: 'ExternalName', externalName: 'Kubernetes.default.svc.cluster.local.' }),
  service('default', 'lost', { type: 'ExternalName', externalName: 'none.example.com' }),
  service('default', 'circle', { type: 'ExternalName', externalName: 'circle.default.svc.cluster.local' }),
  service('default', 'address', { type: 'ExternalName', externalName: '192.0.2.1' }),
  service('default', 'dual', { clusterIP: '10.3.0.5', clusterIPs: ['10.3.0.5', 'fd00:3::5'], ports: [http] }),
  service('other', 'two', { clusterIP: '10.3.0.4', ports: [http] }),
];
const slices = [
  slice(
    'default',
    'headless',
    [
      { addresses: ['10.86.0.100'], hostname: 'my-pet', conditions: { ready: true } },
      { addresses: ['10.86.0.101'], conditions: {} },
      { addresses: ['10.86.0.102'], conditions: { ready: false, serving: true } },
    ],
    [{ ...http, port: 8080 }],
  ),
  slice('default', 'idle', [{ addresses: ['10.86.0.103'], conditions: { ready: false } }], [http]),
  slice('default', 'six', [{ addresses: ['fd00::7'] }]),
  { ...slice('default', 'named', [{ addresses: ['www.example.com'] }], [http]), addressType: 'FQDN' },
  slice('default', 'odd', [{ addresses: ['no address', '10.86.0.106'] }], [http]),
  slice('default', 'two', [{ addresses: ['10.86.0.105'] }], [http]),
];
const view: ClusterView = {
  hasNamespace: (name) => ['default', 'other'].includes(name),
  service: (namespace, name) =>
    services.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
  slices: (namespace, name) =>
    slices.filter(
      ({ metadata }) => metadata.namespace === namespace && metadata.labels?.['kubernetes.io/service-name'] === name,
    ),
  servicesAt: (ip) => services.filter(({ spec }) => [spec?.clusterIP, ...(spec?.clusterIPs ?? [])].includes(ip)),
  servicesNamed: (name) => services.filter(({ metadata }) => internalNames(metadata).includes(name)),
  slicesWith: (ip) => slices.filter(({ endpoints }) => endpoints.some(({ addresses }) => addresses.includes(ip))),
  hasPod: (namespace, ip) => namespace === 'default' && ['10.86.0.7', 'fd00:86::7'].includes(ip),
};

const typeOf = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, MX: 15, TXT: 16, AAAA: 28, SRV: 33 };
const nameOf = new Map(Object.entries(typeOf).map(([name, type]) => [type, name]));
type Row = [question: string, type: keyof typeof typeOf, answers: string[] | 'NXDOMAIN' | 'NODATA' | 'SERVFAIL'];

const zone = 'cluster.local';
const rows: Row[] = [
  ['dns-version.cluster.local', 'TXT', ['dns-version.cluster.local TXT 1.1.0']],
  ['dns-version.cluster.local', 'A', 'NODATA'],
  // 2.3: with a cluster IP
  ['kubernetes.default.svc.cluster.local', 'A', ['kubernetes.default.svc.cluster.local A 10.3.0.1']],
  ['KubeRnetes.DEFAULT.svc.Cluster.Local', 'A', ['KubeRnetes.DEFAULT.svc.Cluster.Local A 10.3.0.1']],
  ['kubernetes.default.svc.cluster.local', 'AAAA', 'NODATA'],
  ['kubernetes.default.svc.cluster.local', 'MX', 'NODATA'],
  [
    '_https._tcp.kubernetes.default.svc.cluster.local',
    'SRV',
    ['_https._tcp.kubernetes.default.svc.cluster.local SRV 0 100 443 kubernetes.default.svc.cluster.local'],
  ],
  ['_https._tcp.kubernetes.default.svc.cluster.local', 'A', 'NODATA'],
  ['_https._udp.kubernetes.default.svc.cluster.local', 'SRV', 'NXDOMAIN'],
  ['_tcp.kubernetes.default.svc.cluster.local', 'SRV', 'NODATA'],
  ['_._tcp.unnamed.default.svc.cluster.local', 'SRV', 'NXDOMAIN'],
  [
    'two.default.svc.cluster.local',
    'SRV',
    [
      'two.default.svc.cluster.local SRV 0 50 80 two.default.svc.cluster.local',
      'two.default.svc.cluster.local SRV 0 50 53 two.default.svc.cluster.local',
    ],
  ],
  ['10-86-0-105.two.default.svc.cluster.local', 'A', ['10-86-0-105.two.default.svc.cluster.local A 10.86.0.105']],
  ['1.0.3.10.in-addr.arpa', 'PTR', ['1.0.3.10.in-addr.arpa PTR kubernetes.default.svc.cluster.local']],
  ['9.0.3.10.in-addr.arpa', 'PTR', 'NXDOMAIN'],
  // Of both families
  ['dual.default.svc.cluster.local', 'A', ['dual.default.svc.cluster.local A 10.3.0.5']],
  ['dual.default.svc.cluster.local', 'AAAA', ['dual.default.svc.cluster.local AAAA fd000003000000000000000000000005']],
  [
    `5.${'0.'.repeat(23)}3.0.0.0.0.0.d.f.ip6.arpa`,
    'PTR',
    [`5.${'0.'.repeat(23)}3.0.0.0.0.0.d.f.ip6.arpa PTR dual.default.svc.cluster.local`],
  ],
  [`9.${'0.'.repeat(23)}3.0.0.0.0.0.d.f.ip6.arpa`, 'PTR', 'NXDOMAIN'],
  [
    'fd00-86--7.default.pod.cluster.local',
    'AAAA',
    ['fd00-86--7.default.pod.cluster.local AAAA fd000086000000000000000000000007'],
  ],
  ['fd00-86-0-0--7.default.pod.cluster.local', 'A', 'NODATA'],
  ['fd00-86--8.default.pod.cluster.local', 'AAAA', 'NXDOMAIN'],
  ['10--11%2-3.default.pod.cluster.local', 'AAAA', 'NXDOMAIN'],
  // 2.4: headless
  [
    'headless.default.svc.cluster.local',
    'A',
    ['headless.default.svc.cluster.local A 10.86.0.100', 'headless.default.svc.cluster.local A 10.86.0.101'],
  ],
  ['idle.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['my-pet.headless.default.svc.cluster.local', 'A', ['my-pet.headless.default.svc.cluster.local A 10.86.0.100']],
  ['10-86-0-100.headless.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  [
    '10-86-0-101.headless.default.svc.cluster.local',
    'A',
    ['10-86-0-101.headless.default.svc.cluster.local A 10.86.0.101'],
  ],
  ['10-86-0-102.headless.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  [
    '_http._tcp.headless.default.svc.cluster.local',
    'SRV',
    [
      '_http._tcp.headless.default.svc.cluster.local SRV 0 50 8080 my-pet.headless.default.svc.cluster.local',
      '_http._tcp.headless.default.svc.cluster.local SRV 0 50 8080 10-86-0-101.headless.default.svc.cluster.local',
    ],
  ],
  ['100.0.86.10.in-addr.arpa', 'PTR', ['100.0.86.10.in-addr.arpa PTR my-pet.headless.default.svc.cluster.local']],
  ['102.0.86.10.in-addr.arpa', 'PTR', 'NXDOMAIN'],
  ['six.default.svc.cluster.local', 'AAAA', ['six.default.svc.cluster.local AAAA fd000000000000000000000000000007']],
  ['six.default.svc.cluster.local', 'A', 'NODATA'],
  ['named.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['named.default.svc.cluster.local', 'SRV', 'NXDOMAIN'],
  ['odd.default.svc.cluster.local', 'A', ['odd.default.svc.cluster.local A 10.86.0.106']],
  // 2.5: external names
  ['far.default.svc.cluster.local', 'CNAME', ['far.default.svc.cluster.local CNAME www.example.com']],
  [
    'far.default.svc.cluster.local',
    'A',
    ['far.default.svc.cluster.local CNAME www.example.com', 'www.example.com A 192.0.2.53'],
  ],
  [
    'near.default.svc.cluster.local',
    'A',
    [
      'near.default.svc.cluster.local CNAME Kubernetes.default.svc.cluster.local',
      'Kubernetes.default.svc.cluster.local A 10.3.0.1',
    ],
  ],
  ['circle.default.svc.cluster.local', 'A', 'SERVFAIL'],
  ['address.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['x.far.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  // 2.6: pods
  ['10-86-0-7.default.pod.cluster.local', 'A', ['10-86-0-7.default.pod.cluster.local A 10.86.0.7']],
  ['10-86-0-7.other.pod.cluster.local', 'A', 'NXDOMAIN'],
  ['10-86-0-8.default.pod.cluster.local', 'A', 'NXDOMAIN'],
  // What only stands above others, and what is not.
  [zone, 'A', 'NODATA'],
  [zone, 'SOA', ['cluster.local SOA']],
  [zone, 'NS', ['cluster.local NS ns.dns.cluster.local']],
  ['ns.dns.cluster.local', 'A', ['ns.dns.cluster.local A 10.3.0.10']],
  ['svc.cluster.local', 'A', 'NODATA'],
  ['default.svc.cluster.local', 'A', 'NODATA'],
  ['other.pod.cluster.local', 'A', 'NODATA'],
  ['nowhere.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['two.nowhere.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['www.example.com.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['a.b.c.two.default.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['constructor.cluster.local', 'A', 'NXDOMAIN'],
  // The platform's domain, and everybody else's.
  ['hello.apps.test', 'A', ['hello.apps.test A 10.86.0.1']],
  ['apps.test', 'A', ['apps.test A 10.86.0.1']],
  ['hello.apps.test', 'AAAA', 'NODATA'],
  ['www.example.com', 'A', ['www.example.com A 192.0.2.53']],
  // Names that Services have besides their own: below `internal` only.
  ['back.apps.internal', 'A', ['back.apps.internal A 10.86.0.100', 'back.apps.internal A 10.86.0.101']],
  ['both.apps.internal', 'A', ['both.apps.internal A 10.86.0.106']],
  ['idle.apps.internal', 'A', 'NODATA'],
  ['none.apps.internal', 'A', 'NXDOMAIN'],
  ['apps.internal', 'A', 'NODATA'],
  ['metadata.google.internal', 'A', ['metadata.google.internal A 192.0.2.54']],
  ['notcluster.local', 'A', 'NXDOMAIN'],
];

test('the tenth address of the range is where names are asked', () => {
  assert.equal(clusterDnsAddress('10.3.0.0/16'), '10.3.0.10');
  assert.equal(clusterDnsAddress('10.3.255.0/24'), '10.3.255.10');
});

test('every question of the specification', async (context) => {
  await using upstream = await serveDns({ 'www.example.com': '192.0.2.53', 'metadata.google.internal': '192.0.2.54' });
  const options: DnsOptions = {
    instance: 'test',
    domain: zone,
    clusterIp: '10.3.0.10',
    gateway: '10.86.0.1',
    podCidr: '10.86.0.0/24',
    clusterCidr: '10.86.0.0/16',
    serviceCidr: '10.3.0.0/16',
    ipv6: { clusterCidr: 'fd00:86::/56', serviceCidr: 'fd00:3::/112' },
    localZones: [{ domain: 'apps.test', address: '10.86.0.1' }],
    portFile: '',
    // It is never asked itself, or this would not end.
    servers: async () => [
      { address: '10.3.0.10', port: 53 },
      { address: upstream.address, port: 53 },
    ],
    log: () => {},
  };
  const answerer = new Answerer(options, view, AbortSignal.timeout(60_000));
  const ask = async (name: string, type: number): Promise<Buffer> =>
    (await answerer.answer(questionOf(name, type, { size: 1232 }), { ip: '10.86.0.7', tcp: false })) ?? Buffer.alloc(0);
  for (const [question, type, wanted] of rows) {
    await context.test(`${question} ${type}`, async () => {
      const reply = await ask(question, typeOf[type]);
      const received = readReply(reply);
      assert.ok(received !== undefined);
      assert.equal(reply.toString('latin1', 13, 13 + question.length).replaceAll(/[^\w%-]/g, '.'), question);
      if (typeof wanted === 'string') {
        const code = {
          NXDOMAIN: ResponseCode.noSuchName,
          NODATA: ResponseCode.ok,
          SERVFAIL: ResponseCode.serverFailure,
        };
        assert.equal(received.code, code[wanted]);
        assert.equal(received.answers.length, 0);
        const isOwn = wanted !== 'SERVFAIL' && question !== 'notcluster.local';
        assert.deepEqual(
          received.authority.map((record) => [record.type, reply.readUInt32BE(record.dataAt + record.size - 4)]),
          isOwn ? [[RecordType.soa, 5]] : [],
        );
        return;
      }
      assert.equal(received.code, ResponseCode.ok);
      assert.deepEqual((answersOf(received) ?? []).map(textOf).sort(), [...wanted].sort());
    });
  }
  await context.test('an external name that leads nowhere', async () => {
    const received = readReply(await ask('lost.default.svc.cluster.local', 1));
    assert.equal(received?.code, ResponseCode.noSuchName);
    assert.deepEqual((received && answersOf(received))?.map(textOf), [
      'lost.default.svc.cluster.local CNAME none.example.com',
    ]);
  });
  await context.test('an external name that no name can be is asked for as far as it can', async () => {
    assert.equal(readReply(await ask('long.default.svc.cluster.local', 1))?.code, ResponseCode.noSuchName);
  });
  await context.test('SRV has the addresses that would be asked for next', async () => {
    const received = readReply(await ask('_http._tcp.headless.default.svc.cluster.local', 33));
    const more = received && answersOf({ ...received, answers: received.additional.filter(({ type }) => type === 1) });
    assert.deepEqual(more?.map(textOf), [
      'my-pet.headless.default.svc.cluster.local A 10.86.0.100',
      '10-86-0-101.headless.default.svc.cluster.local A 10.86.0.101',
    ]);
  });
  await context.test('a zone is not handed out, and another EDNS not spoken', async () => {
    assert.equal(readReply(await ask(zone, RecordType.transfer))?.code, ResponseCode.refused);
    const strange = await answerer.answer(questionOf(zone, 1, { size: 512, version: 1 }), { ip: '', tcp: false });
    assert.deepEqual([strange?.readUInt16BE(2), strange?.at(-6)], [0x8180, 1]);
  });
});

function textOf({ name, type, data }: ResourceRecord): string {
  const [first, ...rest] = data;
  const bytes = Buffer.isBuffer(first) ? first : Buffer.alloc(0);
  const last = rest.find((part) => typeof part === 'string') ?? '';
  const shown: Record<number, () => string> = {
    1: () => [...bytes].join('.'),
    16: () => bytes.toString('latin1', 1),
    28: () => bytes.toString('hex'),
    33: () =>
      [0, 2, 4]
        .map((at) => bytes.readUInt16BE(at))
        .join(' ')
        .concat(` ${last}`),
  };
  return `${name} ${nameOf.get(type)} ${(shown[type] ?? (() => (type === 6 ? '' : last)))()}`.trim();
}
