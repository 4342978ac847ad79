/** Which ports of this host are for TCP routes: `--tcp-ports 1024-1123`. */
import { HostError } from './host-error.ts';
import type { Instance } from './instance.ts';

const COUNT = 100;
const FIRST = 1024;
const MOST = 1000;

/** Undefined where nothing was said: the instance's own hundred, so that several instances have others. */
export function tcpPortsOf(flag: string | undefined, known: Instance | undefined): Pick<Instance, 'tcpPorts'> {
  const text = flag ?? known?.tcpPorts;
  if (text === undefined) return {};
  rangeOf(text);
  return { tcpPorts: text };
}

/** Those of the range that no other part of the instance has. */
export function tcpPorts({ slot, ports, tcpPorts: text }: Pick<Instance, 'slot' | 'ports' | 'tcpPorts'>): number[] {
  const own = FIRST + slot * COUNT;
  const { first, last } = text === undefined ? { first: own, last: own + COUNT - 1 } : rangeOf(text);
  const taken = new Set(Object.values(ports));
  const range = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
  return range.filter((port) => !taken.has(port));
}

function rangeOf(text: string): { first: number; last: number } {
  if (text === 'none') return { first: 1, last: 0 };
  const [, from, to] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? [];
  const first = Number(from);
  const last = Number(to);
  if (first >= 1 && last <= 65_535 && first <= last && last - first < MOST) return { first, last };
  throw new HostError(
    'invalid-flag',
    `Cannot use ${JSON.stringify(text)} as --tcp-ports: it is no range of at most ${MOST} ports.`,
    'Give a range such as --tcp-ports 1024-1123, or none.',
  );
}
