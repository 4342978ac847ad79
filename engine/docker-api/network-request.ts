/** How a container is to be connected: `NetworkMode`, `NetworkingConfig`, `Links` and `MacAddress` of a create request. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { formatAddress, parseAddress } from '../network/address-text.ts';
import type { Fields } from './body.ts';

export interface EndpointWish {
  /** Name or id, as the client wrote it. */
  network: string;
  ip?: string;
  ip6?: string;
  aliases: string[];
  /** `container` or `container:alias`. */
  links: string[];
  mac?: string;
}

export interface NetworksWish {
  /** As it is shown: `bridge`, `none`, `container:ID`, or what the client wrote. */
  mode: string;
  /** Where the mode is a container's: that container. */
  join?: string;
  endpoints: EndpointWish[];
  /** On the network that is always there: lines of /etc/hosts. */
  links: string[];
  mac?: string;
}

const CONTAINER_MODE = 'container:';

export function readNetworks(config: Fields, host: Fields): NetworksWish {
  const said = host.text('NetworkMode');
  const mode = ['', 'default'].includes(said) ? 'bridge' : said;
  const links = host.strings('Links') ?? [];
  if (mode.startsWith(CONTAINER_MODE)) {
    refuseBesideContainerMode(config, host);
    return { mode, join: mode.slice(CONTAINER_MODE.length), endpoints: [], links: [] };
  }
  const given = config.object('NetworkingConfig').object('EndpointsConfig');
  const endpoints = config
    .object('NetworkingConfig')
    .keys('EndpointsConfig')
    .map((name) => readEndpoint(given.object(name), name === 'default' ? 'bridge' : name));
  const mac = config.text('MacAddress') || endpoints.find((one) => one.mac !== undefined)?.mac;
  const isBridge = mode === 'bridge';
  // Without a mode, what is named is all there is.
  const isWanted = said !== '' && said !== 'default';
  const hasMode = endpoints.some(({ network }) => network === mode);
  const all = hasMode || (endpoints.length > 0 && !isWanted) ? endpoints : [bare(mode), ...endpoints];
  return {
    mode,
    endpoints: ['none', 'host'].includes(mode) ? [] : first(isBridge ? all : withLinks(all, mode, links), mode),
    links: isBridge ? links : [],
    ...(mac === undefined || mac === '' ? {} : { mac }),
  };
}

function refuseBesideContainerMode(config: Fields, host: Fields): void {
  const conflicts: [boolean, string][] = [
    [config.text('Hostname') !== '', 'hostname and the network mode'],
    [(host.strings('Dns') ?? []).length > 0, 'dns and the network mode'],
    [(host.strings('ExtraHosts') ?? []).length > 0, 'custom host-to-IP mapping and the network mode'],
    [config.text('MacAddress') !== '', 'mac-address and the network mode'],
    [host.keys('PortBindings').length > 0, 'port publishing and the container type network mode'],
    [host.flag('PublishAllPorts'), 'port publishing and the container type network mode'],
    [config.keys('ExposedPorts').length > 0, 'port exposing and the container type network mode'],
    [(host.strings('Links') ?? []).length > 0, 'container type network and links'],
  ];
  for (const [isThere, what] of conflicts)
    if (isThere) throw host.refuse('NetworkMode', `conflicting options: ${what}`);
}

export function readEndpoint(fields: Fields, network: string): EndpointWish {
  const ipam = fields.object('IPAMConfig');
  const ip = ipam.text('IPv4Address');
  if (ip !== '' && !isIPv4(ip)) throw ipam.refuse('IPv4Address', `${JSON.stringify(ip)} is no IPv4 address`);
  const ip6 = ipam.text('IPv6Address');
  if (ip6 !== '' && !isIPv6(ip6)) throw ipam.refuse('IPv6Address', `${JSON.stringify(ip6)} is no IPv6 address`);
  if ((ipam.strings('LinkLocalIPs') ?? []).length > 0) throw ipam.refuse('LinkLocalIPs', 'they are not supported');
  const [option] = Object.keys(fields.stringMap('DriverOpts'));
  if (option !== undefined) throw fields.refuse('DriverOpts', `${JSON.stringify(option)} is not supported`);
  const mac = fields.text('MacAddress');
  return {
    network,
    aliases: fields.strings('Aliases') ?? [],
    links: fields.strings('Links') ?? [],
    ...(ip === '' ? {} : { ip }),
    ...(ip6 === '' ? {} : { ip6: formatAddress(parseAddress(ip6)) }),
    ...(mac === '' ? {} : { mac }),
  };
}

function bare(network: string): EndpointWish {
  return { network, aliases: [], links: [] };
}

function withLinks(endpoints: EndpointWish[], mode: string, links: string[]): EndpointWish[] {
  return endpoints.map((endpoint) =>
    endpoint.network === mode ? { ...endpoint, links: [...new Set([...endpoint.links, ...links])] } : endpoint,
  );
}

/** The default route goes by the first. */
function first(endpoints: EndpointWish[], mode: string): EndpointWish[] {
  return [
    ...endpoints.filter(({ network }) => network === mode),
    ...endpoints.filter(({ network }) => network !== mode),
  ];
}
