/** Networks, and containers in them, in Docker's words. */
import { createHash } from 'node:crypto';
import type { Container, Sandbox } from '../engine.ts';
import { contains, parseCidr } from '../network/addresses.ts';
import type { AddressRange } from '../networks.ts';
import type { Call } from './call.ts';
import { time } from './container-view.ts';
import { identityOf } from './docker-containers.ts';
import { type DockerNetwork, type Endpoint, namesOf } from './networks.ts';
import { SANDBOX_LABEL, isReserved, settingsOf } from './settings.ts';

/** Options that no client sees: what the engine has no word for. */
export const ATTACHABLE = 'docker.sampan.dev/attachable';
export const AUXILIARY = 'docker.sampan.dev/auxiliary';

/** @param details  with the containers that are in it */
export function networkDocument(call: Call, network: DockerNetwork, details: boolean): Record<string, unknown> {
  const { id, name, driver, subnet, gateway, ipv6, network: own } = network;
  const options = own?.options ?? {};
  const auxiliary = options[AUXILIARY] === undefined ? {} : (JSON.parse(options[AUXILIARY]) as Record<string, string>);
  const ranges = [
    ...(subnet === undefined ? [] : [{ subnet, gateway, range: own?.range }]),
    ...(ipv6 === undefined ? [] : [ipv6]),
  ];
  return {
    Name: name,
    Id: id,
    Created: time(own?.createdAt ?? 0),
    Scope: 'local',
    Driver: driver,
    EnableIPv4: true,
    EnableIPv6: ipv6 !== undefined,
    IPAM: { Driver: 'default', Options: {}, Config: ranges.map((range) => rangeView(range, auxiliary)) },
    Internal: own?.internal ?? false,
    Attachable: options[ATTACHABLE] === 'true',
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: details ? members(call, network) : {},
    Options: Object.fromEntries(Object.entries(options).filter(([option]) => !isReserved(option))),
    Labels: own?.labels ?? {},
  };
}

function rangeView(
  { subnet, gateway, range }: Partial<AddressRange> & { subnet: string },
  auxiliary: Record<string, string>,
): Record<string, unknown> {
  const own = Object.entries(auxiliary).filter(([, address]) => contains(parseCidr(subnet), address));
  return {
    Subnet: subnet,
    ...(range === undefined ? {} : { IPRange: range }),
    Gateway: gateway,
    ...(own.length === 0 ? {} : { AuxiliaryAddresses: Object.fromEntries(own) }),
  };
}

function prefixOf(subnet: string | undefined): number {
  return subnet === undefined ? 0 : parseCidr(subnet).prefix;
}

/** Those that run; of pods, the sandbox that their containers share. */
function members(call: Call, network: DockerNetwork): Record<string, unknown> {
  const { networks } = call.docker;
  const containers = call.docker.own().flatMap(({ id, name, state, sandbox }) => {
    const isIn = networks.endpointsOf(id).some(({ networkId }) => networkId === network.id);
    return state === 'running' && isIn ? [{ id, name, sandbox: call.engine.sandbox(sandbox) }] : [];
  });
  const pods = networks
    .users(network)
    .filter(({ sandbox, isRunning }) => isRunning && sandbox.labels[SANDBOX_LABEL] === undefined)
    .map(({ sandbox }) => ({ id: sandbox.id, name: sandbox.name, sandbox }));
  return Object.fromEntries([...containers, ...pods].flatMap((one) => member(call, network, one)));
}

function member(
  call: Call,
  network: DockerNetwork,
  { id, name, sandbox }: { id: string; name: string; sandbox: Sandbox | undefined },
): [id: string, view: Record<string, unknown>][] {
  const attachment = call.docker.networks.attachment(sandbox, { networkId: network.id });
  if (attachment === undefined || sandbox === undefined) return [];
  const { ip, ip6 } = attachment;
  const view = {
    Name: name,
    EndpointID: endpointId(sandbox, network.id),
    MacAddress: sandbox.mac ?? '',
    IPv4Address: `${ip}/${prefixOf(network.subnet)}`,
    IPv6Address: ip6 === undefined ? '' : `${ip6}/${prefixOf(network.ipv6?.subnet)}`,
  };
  return [[id, view]];
}

/** `NetworkSettings.Networks`; of a pod, the one network of pods. */
export function containerNetworks(call: Call, container: Container): Record<string, unknown> {
  const sandbox = call.engine.sandbox(container.sandbox);
  const settings = settingsOf(container);
  if (settings === undefined) return { pod: podEndpoint(sandbox) };
  const { networks } = call.docker;
  const { networkMode: mode = '' } = settings;
  if (mode.startsWith('container:')) return {};
  if (mode === 'none' || mode === 'host') return { [mode]: emptyEndpoint(networks.find(mode).id) };
  return Object.fromEntries(
    networks
      .endpointsOf(container.id)
      .map((endpoint) => [endpoint.networkName, endpointView(call, container, { endpoint, sandbox })]),
  );
}

function endpointView(
  call: Call,
  container: Container,
  { endpoint, sandbox }: { endpoint: Endpoint; sandbox: Sandbox | undefined },
): Record<string, unknown> {
  const { networks } = call.docker;
  const network = networks.list().find(({ id }) => id === endpoint.networkId);
  const attachment = container.state === 'running' ? networks.attachment(sandbox, endpoint) : undefined;
  const isUser = network?.isPredefined === false;
  const names = isUser ? namesOf(endpoint, identityOf(container)) : [];
  // Clients from before 1.45 look for the short id among the aliases.
  const aliases = isUser && call.minor < 45 ? [...endpoint.aliases, container.id.slice(0, 12)] : endpoint.aliases;
  return {
    ...emptyEndpoint(endpoint.networkId),
    IPAMConfig: isUser ? addressWish(endpoint) : null,
    Links: endpoint.links.length > 0 ? endpoint.links : null,
    Aliases: aliases.length > 0 ? aliases : null,
    ...(attachment === undefined || sandbox === undefined
      ? {}
      : {
          EndpointID: endpointId(sandbox, endpoint.networkId),
          Gateway: network?.gateway ?? '',
          IPAddress: attachment.ip,
          IPPrefixLen: prefixOf(network?.subnet),
          MacAddress: sandbox.mac ?? '',
          ...(attachment.ip6 === undefined
            ? {}
            : {
                IPv6Gateway: network?.ipv6?.gateway ?? '',
                GlobalIPv6Address: attachment.ip6,
                GlobalIPv6PrefixLen: prefixOf(network?.ipv6?.subnet),
              }),
        }),
    DNSNames: names.length > 0 ? names : null,
  };
}

function addressWish({ ip, ip6 }: Endpoint): Record<string, string> {
  return { ...(ip === undefined ? {} : { IPv4Address: ip }), ...(ip6 === undefined ? {} : { IPv6Address: ip6 }) };
}

function podEndpoint(sandbox: Sandbox | undefined): Record<string, unknown> {
  return {
    ...emptyEndpoint(sandbox?.id ?? ''),
    IPAddress: sandbox?.ip ?? '',
    IPPrefixLen: 32,
    MacAddress: sandbox?.mac ?? '',
  };
}

function emptyEndpoint(networkId: string): Record<string, unknown> {
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: null,
    DriverOpts: null,
    NetworkID: networkId,
    EndpointID: '',
    Gateway: '',
    IPAddress: '',
    IPPrefixLen: 0,
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    MacAddress: '',
  };
}

function endpointId(sandbox: Sandbox, networkId: string): string {
  return createHash('sha256').update(`${sandbox.id} ${networkId}`).digest('hex');
}
