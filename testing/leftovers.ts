/** What of an instance is on this machine: processes, mounts, links, namespaces, cgroups, tables, addresses, loop devices and files. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { addressMark } from '#cluster/network/services/load-balancers.ts';
import { processesWith } from './processes.ts';

export interface Traces {
  processes: string[];
  mounts: string[];
  links: string[];
  cgroups: string[];
  tables: string[];
  /** Of load balancers. */
  addresses: string[];
  loops: string[];
}

/** `marks` are texts that only this instance's things carry: its directories and names. */
export function tracesOf(instance: string, marks: string[]): Traces {
  const mark = addressMark(instance);
  const ours = (text: string): boolean => marks.some((mark) => text.includes(mark));
  return {
    processes: processesWith((line) => ours(line) && !line.includes('down --purge')).map(
      ({ pid, line }) => `${pid} ${line}`,
    ),
    mounts: readText('/proc/self/mountinfo').split('\n').filter(ours),
    links: Object.keys(networkInterfaces())
      .concat(readdirSync('/sys/class/net'))
      .filter((name) => ours(readText(`/sys/class/net/${name}/ifalias`)) || name.includes(instance)),
    cgroups: cgroupDirectories().filter((path) => path.includes(`sampan-${instance}`)),
    tables: execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => /^table inet sampan-([^.]+)(\..+)?$/.exec(line)?.[1] === instance),
    addresses: execFileSync('ip', ['-oneline', 'address', 'show'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(` ${mark.label}\\`) || line.includes(` metric ${mark.metric} `)),
    loops: readdirSync('/sys/block')
      .filter((name) => name.startsWith('loop'))
      .map((name) => `${name} ${readText(`/sys/block/${name}/loop/backing_file`)}`)
      .filter(ours),
  };
}

export const noTraces: Traces = {
  processes: [],
  mounts: [],
  links: [],
  cgroups: [],
  tables: [],
  addresses: [],
  loops: [],
};

function cgroupDirectories(): string[] {
  const roots = existsSync('/sys/fs/cgroup/cgroup.controllers')
    ? ['/sys/fs/cgroup']
    : readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}`);
  return roots.flatMap((root) => {
    try {
      return readdirSync(root).map((name) => `${root}/${name}`);
    } catch {
      return []; // a link to another hierarchy
    }
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it ended meanwhile, or has none
  }
}
