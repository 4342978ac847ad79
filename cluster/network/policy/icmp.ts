/**
 * What of ICMP a policy lets out, for which NetworkPolicies have no word: an annotation of theirs, a list in JSON of
 * `{ blocks: [{ cidr, except? }], type, code, log? }`, where -1 is any. What is no such thing is left out: it allows nothing. Pure.
 */
import { isIPv4 } from 'node:net';

export const icmpAnnotation = 'policy.sampan.dev/icmp-egress';

interface Listed {
  blocks?: { cidr?: unknown; except?: unknown }[];
  type?: unknown;
  code?: unknown;
  log?: unknown;
}

/** What packets of it match, in words of nftables. */
export function icmpMatches(text: string | undefined): { text: string; log: boolean }[] {
  return listOf(text).flatMap((rule) => {
    const { blocks, type, code, log } = rule ?? {};
    if (!Array.isArray(blocks) || !isIcmpNumber(type) || !isIcmpNumber(code)) return [];
    const kind = [
      type === -1 ? 'meta l4proto icmp' : `icmp type ${type}`,
      ...(code === -1 ? [] : [`icmp code ${code}`]),
    ];
    return blocks.flatMap((block) => {
      const match = matchOf(block);
      return match === undefined ? [] : [{ text: [match, ...kind].join(' '), log: log === true }];
    });
  });
}

function listOf(text: string | undefined): Listed[] {
  try {
    const listed: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(listed) ? (listed as Listed[]) : [];
  } catch {
    return [];
  }
}

/** Undefined where an end of it is not understood: an exception must not open what it was to close. */
function matchOf(block: { cidr?: unknown; except?: unknown } | null): string | undefined {
  const { cidr, except = [] } = block ?? {};
  const without: unknown[] = Array.isArray(except) ? except : [undefined];
  if (!isBlock(cidr) || !without.every(isBlock)) return undefined;
  return [`ip daddr ${cidr}`, ...without.map((range) => `ip daddr != ${range}`)].join(' ');
}

function isBlock(value: unknown): value is string {
  const [address = '', bits = '32', ...more] = String(value).split('/');
  return typeof value === 'string' && more.length === 0 && isIPv4(address) && /^(\d|[12]\d|3[0-2])$/.test(bits);
}

function isIcmpNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= -1 && value <= 255;
}
