/** `/networks`. */
import { isIP } from 'node:net';
import { EngineError } from '../engine.ts';
import type { NetworkSpec, RangeSpec } from '../networks.ts';
import { formatAddress, parseAddress } from '../network/address-text.ts';
import { Fields, readBody } from './body.ts';
import { answerEmpty, answerJson, type Call, findContainer } from './call.ts';
import { identityOf } from './docker-containers.ts';
import { DockerError } from './errors.ts';
import { anyOf, type Filters, hasLabels, parseFilters } from './filters.ts';
import { momentBefore } from './lifecycle.ts';
import { readEndpoint } from './network-request.ts';
import { ATTACHABLE, AUXILIARY, networkDocument } from './network-view.ts';
import { type DockerNetwork, PREDEFINED } from './networks.ts';
import type { Route } from './route.ts';
import { isReserved, settingsOf } from './settings.ts';

const FILTERS = ['name', 'id', 'driver', 'label', 'type', 'scope', 'dangling'];

/** Options of Docker's bridge driver that mean something here, or nothing at all. */
const ICC = 'com.docker.network.bridge.enable_icc';
const TRUE_ONLY = ['com.docker.network.bridge.enable_ip_masquerade'];

export async function listNetworks(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), FILTERS);
  for (const type of filters.get('type') ?? [])
    if (type !== 'custom' && type !== 'builtin')
      throw new DockerError(400, `invalid filter: type=${type}; known are custom and builtin`);
  const fitting = call.docker.networks.list().filter((network) => isFitting(call, network, filters));
  // Older clients read the members of each from the list.
  answerJson(
    call,
    fitting.map((network) => networkDocument(call, network, call.minor < 28)),
  );
}

function isFitting(call: Call, network: DockerNetwork, filters: Filters): boolean {
  const isDangling = (): boolean => !network.isPredefined && !isUsed(call, network);
  return (
    anyOf(filters, 'name', (value) => network.name.includes(value)) &&
    anyOf(filters, 'id', (value) => network.id.includes(value)) &&
    anyOf(filters, 'driver', (value) => value === network.driver) &&
    anyOf(filters, 'type', (value) => (value === 'builtin') === network.isPredefined) &&
    anyOf(filters, 'scope', (value) => value === 'local') &&
    anyOf(filters, 'dangling', (value) => ['1', 'true'].includes(value) === isDangling()) &&
    hasLabels(filters, network.network?.labels ?? {})
  );
}

function isUsed(call: Call, network: DockerNetwork): boolean {
  return call.docker.networks.users(network).some(({ isRunning }) => isRunning);
}

export async function inspectNetwork(call: Call): Promise<void> {
  answerJson(call, networkDocument(call, call.docker.networks.find(call.path['id'] ?? ''), true));
}

export async function createNetwork(call: Call): Promise<void> {
  const fields = new Fields(await readBody(call));
  const spec = readSpec(fields);
  if (PREDEFINED.includes(spec.name) || spec.name === 'default')
    throw new DockerError(403, `operation is not permitted on predefined ${spec.name} network`);
  try {
    const { id, name } = await call.engine.networks.create(spec);
    call.docker.happenings.add('network', 'create', id, { name, type: 'bridge' });
    answerJson(call, { Id: id, Warning: '' }, 201);
  } catch (error) {
    if (error instanceof EngineError && error.message.startsWith('invalid pool request'))
      throw new DockerError(403, error.message, { cause: error });
    throw error;
  }
}

function readSpec(fields: Fields): NetworkSpec {
  const name = fields.text('Name');
  if (name.trim() === '') throw new DockerError(400, 'network name is required: it is empty');
  checkDriver(fields);
  const labels = fields.stringMap('Labels');
  const options = fields.stringMap('Options');
  for (const option of Object.keys(options)) {
    const isFixed = TRUE_ONLY.includes(option) && options[option] === 'true';
    if (option !== ICC && !isFixed)
      throw fields.refuse(
        'Options',
        `${JSON.stringify(option)} is not supported: links are routed, there is no bridge to set up`,
      );
  }
  const { auxiliary, ...ranges } = readRanges(fields.object('IPAM'), fields.flag('EnableIPv6'));
  return {
    name,
    labels,
    internal: fields.flag('Internal'),
    isolated: options[ICC] === 'false',
    ...ranges,
    options: {
      ...options,
      ...(fields.flag('Attachable') ? { [ATTACHABLE]: 'true' } : {}),
      ...(auxiliary === undefined ? {} : { [AUXILIARY]: JSON.stringify(auxiliary) }),
    },
  };
}

function checkDriver(fields: Fields): void {
  const driver = fields.text('Driver') || 'bridge';
  if (driver === 'host' || driver === 'null')
    throw new DockerError(403, `only one instance of "${driver}" network is allowed`);
  if (driver !== 'bridge')
    throw new DockerError(404, `could not find plugin ${driver} in v1 plugin registry: plugin not found`);
  if (fields.has('EnableIPv4') && !fields.flag('EnableIPv4'))
    throw fields.refuse('EnableIPv4', 'networks of this engine have IPv4, and IPv6 beside it');
  for (const field of ['Ingress', 'ConfigOnly'])
    if (fields.flag(field)) throw fields.refuse(field, 'it needs a swarm, which this engine has not');
  const scope = fields.text('Scope');
  if (!['', 'local'].includes(scope)) throw fields.refuse('Scope', `${JSON.stringify(scope)} is not local`);
  for (const label of Object.keys(fields.stringMap('Labels')))
    if (isReserved(label)) throw fields.refuse('Labels', `${JSON.stringify(label)} is the engine's own`);
}

type Ranges = Pick<NetworkSpec, keyof RangeSpec | 'ipv6'> & { auxiliary?: Record<string, string> };

function readRanges(ipam: Fields, withIpv6: boolean): Ranges {
  const driver = ipam.text('Driver') || 'default';
  if (driver !== 'default')
    throw new DockerError(404, `could not find plugin ${driver} in v1 plugin registry: plugin not found`);
  const ranges: { ipv4?: RangeSpec; ipv6?: RangeSpec } = withIpv6 ? { ipv6: {} } : {};
  const auxiliary: Record<string, string> = {};
  for (const config of ipam.objects('Config')) {
    const family = config.text('Subnet').includes(':') ? 'ipv6' : 'ipv4';
    // As Docker: a range of a family that is off is not looked at.
    if (family === 'ipv6' && !withIpv6) continue;
    if (ranges[family]?.subnet !== undefined) throw ipam.refuse('Config', 'a network has one range of each family');
    ranges[family] = readRange(config);
    Object.assign(auxiliary, config.stringMap('AuxiliaryAddresses'));
  }
  const { ipv4, ipv6 } = ranges;
  return {
    ...ipv4,
    ...(ipv6 === undefined ? {} : { ipv6 }),
    ...(Object.keys(auxiliary).length === 0 ? {} : { auxiliary }),
  };
}

function readRange(config: Fields): RangeSpec {
  const subnet = config.text('Subnet');
  const gateway = config.text('Gateway');
  const range = config.text('IPRange');
  const reserved = Object.values(config.stringMap('AuxiliaryAddresses'));
  if (subnet === '') {
    if (gateway === '' && range === '' && reserved.length === 0) return {};
    throw config.refuse('Subnet', 'required subnet is missing: gateway, range and auxiliary addresses need one');
  }
  const family = subnet.includes(':') ? 6 : 4;
  for (const address of [gateway, ...reserved])
    if (address !== '' && isIP(address) !== family)
      throw config.refuse('Gateway', `${JSON.stringify(address)} is no IPv${family} address`);
  return {
    subnet,
    reserved,
    ...(gateway === '' ? {} : { gateway: formatAddress(parseAddress(gateway)) }),
    ...(range === '' ? {} : { range }),
  };
}

export async function removeNetwork(call: Call): Promise<void> {
  await remove(call, call.docker.networks.find(call.path['id'] ?? ''));
  answerEmpty(call);
}

async function remove(call: Call, network: DockerNetwork): Promise<void> {
  await call.docker.networks.remove(network);
  call.docker.happenings.add('network', 'destroy', network.id, { name: network.name, type: 'bridge' });
}

export async function connectNetwork(call: Call): Promise<void> {
  const fields = new Fields(await readBody(call));
  const network = call.docker.networks.find(call.path['id'] ?? '');
  const container = findContainer(call, fields.text('Container'));
  const mode = modeOf(call, container.id);
  if (mode.startsWith('container:')) {
    throw new DockerError(
      400,
      'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  }
  if (mode === 'none') {
    throw new DockerError(
      400,
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
  }
  const wish = readEndpoint(fields.object('EndpointConfig'), network.id);
  if (wish.mac !== undefined)
    throw fields.refuse('EndpointConfig.MacAddress', 'a container has one link: give --mac-address when it is made');
  await call.docker.networks.connect(container, call.docker.networks.endpoint(wish, network), identityOf(container));
  tell(call, 'connect', { network, container: container.id });
  answerEmpty(call, 200);
}

export async function disconnectNetwork(call: Call): Promise<void> {
  const fields = new Fields(await readBody(call));
  const network = call.docker.networks.find(call.path['id'] ?? '');
  const text = fields.text('Container');
  // With force, one that is gone may be named: what it left is gone with it.
  if (fields.flag('Force') && call.engine.container(text) === undefined && /^[0-9a-f]{64}$/.test(text))
    return answerEmpty(call, 200);
  const container = findContainer(call, text);
  modeOf(call, container.id);
  await call.docker.networks.disconnect(container, network);
  tell(call, 'disconnect', { network, container: container.id });
  answerEmpty(call, 200);
}

/** Only of those that run: others are connected when they start. */
function tell(
  call: Call,
  action: 'connect' | 'disconnect',
  { network, container }: { network: DockerNetwork; container: string },
): void {
  if (call.engine.container(container)?.state !== 'running') return;
  call.docker.happenings.add('network', action, network.id, { container, name: network.name, type: network.driver });
}

function modeOf(call: Call, id: string): string {
  const container = call.engine.container(id);
  const settings = container === undefined ? undefined : settingsOf(container);
  if (settings !== undefined) return settings.networkMode ?? 'bridge';
  throw new DockerError(
    409,
    `cannot change the networks of container ${id.slice(0, 12)}: it belongs to a pod, and pods are in one network`,
  );
}

/** Those that nothing runs in. */
export async function pruneNetworks(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['label', 'label!', 'until']);
  const until = filters.get('until')?.[0];
  const before = until === undefined ? Number.POSITIVE_INFINITY : momentBefore(until);
  const removed: string[] = [];
  for (const network of call.docker.networks.list()) {
    const { network: own } = network;
    if (own === undefined || own.createdAt >= before || isUsed(call, network)) continue;
    if (!hasLabels(filters, own.labels)) continue;
    if (filters.get('label!')?.some((label) => hasLabels(new Map([['label', [label]]]), own.labels))) continue;
    await remove(call, network);
    removed.push(network.name);
  }
  answerJson(call, { NetworksDeleted: removed.length > 0 ? removed : null });
}

const test = 'engine/docker-api/networks.test.ts';

export const NETWORK_ROUTES: readonly Route[] = [
  { method: 'GET', path: '/networks', summary: 'Networks; filters', handle: listNetworks, test },
  {
    method: 'POST',
    path: '/networks/create',
    summary: 'Makes one: isolated, or internal; IPv6 beside IPv4; subnet, gateway, range, reserved addresses, labels',
    handle: createNetwork,
    state: 'partial',
    note: 'driver bridge only, always with IPv4; of its options enable_icc; others are refused by name',
    test,
  },
  {
    method: 'POST',
    path: '/networks/prune',
    summary: 'Removes those that nothing runs in',
    handle: pruneNetworks,
    test,
  },
  { method: 'GET', path: '/networks/{id}', summary: 'One, with those that are in it', handle: inspectNetwork, test },
  {
    method: 'DELETE',
    path: '/networks/{id}',
    summary: 'Removes one that nothing runs in',
    handle: removeNetwork,
    test,
  },
  {
    method: 'POST',
    path: '/networks/{id}/connect',
    summary: 'Puts a container in; aliases, links, an address',
    handle: connectNetwork,
    test,
  },
  { method: 'POST', path: '/networks/{id}/disconnect', summary: 'Takes it out', handle: disconnectNetwork, test },
];
