/** URLs, addresses and networks (Kubernetes "URL library", "IP address library", "CIDR library"). */
import { BlockList, isIP } from 'node:net';
import type { Environment } from '@marcbachmann/cel-js';
import { addressBytes } from '#lib/dns/address.ts';

class Address {
  readonly text: string;
  constructor(text: string) {
    if (isIP(text) === 0)
      throw new Error(`IP Address ${JSON.stringify(text)} parse error during conversion from string`);
    this.text = text;
  }
  get family(): 'ipv4' | 'ipv6' {
    return isIP(this.text) === 4 ? 'ipv4' : 'ipv6';
  }
}

class Network {
  readonly address: Address;
  readonly length: number;
  constructor(text: string) {
    const [address = '', length = ''] = text.split('/');
    if (!isNetwork(text))
      throw new Error(`network address parse error during conversion from string: ${JSON.stringify(text)}`);
    this.address = new Address(address);
    this.length = Number(length);
  }
  contains(address: Address): boolean {
    const list = new BlockList();
    list.addSubnet(this.address.text, this.length, this.address.family);
    return address.family === this.address.family && list.check(address.text, address.family);
  }
}

function isNetwork(text: string): boolean {
  const [address = '', length = '', ...more] = text.split('/');
  const family = isIP(address);
  return more.length === 0 && family !== 0 && /^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128);
}

const SPECIAL: Record<string, string[]> = {
  isLoopback: ['127.0.0.0/8', '::1/128'],
  isUnspecified: ['0.0.0.0/32', '::/128'],
  isLinkLocalUnicast: ['169.254.0.0/16', 'fe80::/10'],
  isLinkLocalMulticast: ['224.0.0.0/24', 'ff02::/16'],
};

export function addNetworkFunctions(environment: Environment): void {
  const add = (signature: string, handler: (...values: never[]) => unknown) =>
    environment.registerFunction(signature, handler as (...values: unknown[]) => unknown, { async: false });
  environment.registerType('net.IP', { ctor: Address, fields: {} });
  environment.registerType('net.CIDR', { ctor: Network, fields: {} });
  environment.registerType('kubernetes.URL', { ctor: URL, fields: {} });
  add('ip(string): net.IP', (text: string) => new Address(text));
  add('isIP(string): bool', (text: string) => isIP(text) !== 0);
  add('net.IP.family(): int', ({ family }: Address) => (family === 'ipv4' ? 4n : 6n));
  add('string(net.IP): string', ({ text }: Address) => text);
  for (const [name, ranges] of Object.entries(SPECIAL)) {
    const networks = ranges.map((range) => new Network(range));
    add(`net.IP.${name}(): bool`, (address: Address) => networks.some((network) => network.contains(address)));
  }
  add('net.IP.isGlobalUnicast(): bool', (address: Address) => !notGlobal.some((network) => network.contains(address)));
  environment.registerOperator('net.IP == net.IP', same);
  environment.registerOperator(
    'net.CIDR == net.CIDR',
    (a: Network, b: Network) => a.length === b.length && same(a.address, b.address),
  );
  add('cidr(string): net.CIDR', (text: string) => new Network(text));
  add('isCIDR(string): bool', isNetwork);
  add('net.CIDR.containsIP(string): bool', (network: Network, text: string) => network.contains(new Address(text)));
  add('net.CIDR.containsIP(net.IP): bool', (network: Network, address: Address) => network.contains(address));
  add('net.CIDR.containsCIDR(string): bool', (network: Network, text: string) => holds(network, new Network(text)));
  add('net.CIDR.containsCIDR(net.CIDR): bool', holds);
  add('net.CIDR.ip(): net.IP', ({ address }: Network) => address);
  add(
    'net.CIDR.masked(): net.CIDR',
    ({ address, length }: Network) => new Network(`${maskedText(address, length)}/${length}`),
  );
  add('net.CIDR.prefixLength(): int', ({ length }: Network) => BigInt(length));
  add('url(string): kubernetes.URL', (text: string) => new URL(text));
  add('isURL(string): bool', (text: string) => URL.canParse(text));
  add('kubernetes.URL.getScheme(): string', ({ protocol }: URL) => protocol.slice(0, -1));
  add('kubernetes.URL.getHost(): string', ({ host }: URL) => host);
  add('kubernetes.URL.getHostname(): string', ({ hostname }: URL) => hostname.replace(/^\[|\]$/g, ''));
  add('kubernetes.URL.getPort(): string', ({ port }: URL) => port);
  add('kubernetes.URL.getEscapedPath(): string', ({ pathname }: URL) => pathname);
  add('kubernetes.URL.getQuery(): map<string, list<string>>', ({ searchParams }: URL) =>
    Object.fromEntries([...searchParams.keys()].map((key) => [key, searchParams.getAll(key)])),
  );
}

/** Unicast that is neither of one link nor of one host; private addresses are global in this sense. */
const notGlobal = [
  ...['0.0.0.0/32', '255.255.255.255/32', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4'],
  ...['::/128', '::1/128', 'fe80::/10', 'ff00::/8'],
].map((text) => new Network(text));

/** However they are written. */
function same(a: Address, b: Address): boolean {
  return a.family === b.family && bitsOf(a) === bitsOf(b);
}

function bitsOf({ text }: Address): bigint {
  return BigInt(`0x${addressBytes(text).toString('hex')}`);
}

function maskedText(address: Address, length: number): string {
  const width = address.family === 'ipv4' ? 32 : 128;
  const bits = (bitsOf(address) >> BigInt(width - length)) << BigInt(width - length);
  const part = (at: number, size: number): bigint =>
    (bits >> BigInt(width - size * (at + 1))) & ((1n << BigInt(size)) - 1n);
  if (width === 32) return [0, 1, 2, 3].map((at) => String(part(at, 8))).join('.');
  return [0, 1, 2, 3, 4, 5, 6, 7].map((at) => part(at, 16).toString(16)).join(':');
}

function holds(outer: Network, inner: Network): boolean {
  return inner.length >= outer.length && outer.contains(inner.address);
}
