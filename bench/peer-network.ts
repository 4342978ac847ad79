/** What a dockerd that ended leaves on the machine: its bridge, its chains, and namespaces that are mounted. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** The bridge is only dockerd's where it has the address that the peer was given. */
export function removeDockerNetwork(address: string, subnet: string): void {
  const links = JSON.parse(run('ip', '-j', '-4', 'addr', 'show') || '[]') as {
    ifname: string;
    addr_info: { local: string }[];
  }[];
  const bridge = links.find((link) => link.addr_info.some(({ local }) => local === address))?.ifname;
  if (bridge === undefined) return;
  for (const table of ['filter', 'nat']) {
    const lines = run('iptables', '-t', table, '-S').split('\n');
    for (const line of lines) {
      const words = line.split(' ');
      if (words[0] === '-A' && (/ -j DOCKER/.test(line) || words.includes(bridge) || words.includes(subnet)))
        run('iptables', '-t', table, '-D', ...words.slice(1));
    }
    const chains = lines.flatMap((line) => /^-N (DOCKER\S*)$/.exec(line)?.[1] ?? []);
    for (const chain of chains) run('iptables', '-t', table, '-F', chain);
    for (const chain of chains) run('iptables', '-t', table, '-X', chain);
  }
  run('ip', 'link', 'delete', bridge);
}

/** Builds on the host's network leave its namespace mounted. */
export function unmountBelow(directory: string): void {
  const points = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((point) => point.startsWith(`${directory}/`));
  for (const point of points.reverse()) run('umount', '-l', point);
}

function run(command: string, ...words: string[]): string {
  return execFileSync(command, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
