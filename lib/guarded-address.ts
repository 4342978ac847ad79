/**
 * Which addresses a connection may be made to that somebody else names: a name is looked up once, and the address that was judged is
 * the one that is dialled, so that a name server cannot give another one in between.
 */
import { lookup as lookUp } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

export class AddressRefused extends Error {
  readonly code = 'address-refused';
  readonly address: string;
  constructor(address: string) {
    super(`the address ${address} may not be reached from here`);
    this.name = 'AddressRefused';
    this.address = address;
  }
}

export interface AddressGuard {
  /** @throws AddressRefused for an address that is none of those allowed */
  check(address: string): void;
  /** For `net.connect`, `tls.connect` and `http.request`, which ask it for names only: addresses are to be checked before. */
  lookup: LookupFunction;
}

/** This host by itself, the link, groups, and addresses that are none. */
const NEVER = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'];

/**
 * @param refused  asked at each use: addresses and ranges that are refused besides those of the host by itself
 * @param allowed  ranges that are allowed whatever else is said
 */
export function addressGuard(refused: () => Iterable<string>, allowed: Iterable<string>): AddressGuard {
  const always = blockList(allowed);
  const check = (address: string): void => {
    const plain = address.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/i, '');
    if (holds(always, plain)) return;
    if (isIP(plain) === 0 || holds(blockList([...NEVER, ...refused()]), plain)) throw new AddressRefused(address);
  };
  const lookup: LookupFunction = (hostname, options, callback) => {
    lookUp(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0);
      try {
        for (const { address } of addresses) check(address);
      } catch (refusal) {
        return callback(refusal as NodeJS.ErrnoException, '', 0);
      }
      if (options.all === true) return callback(null, addresses);
      const [first] = addresses;
      callback(null, first?.address ?? '', first?.family ?? 0);
    });
  };
  return { check, lookup };
}

function holds(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function blockList(ranges: Iterable<string>): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits] = range.split('/');
    const family = isIP(address);
    if (family === 0) continue;
    const type = family === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, type);
    else list.addSubnet(address, Number(bits), type);
  }
  return list;
}
