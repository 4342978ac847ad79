/**
 * Installs what Sampan itself needs and what the tests drive, where it is missing: clients, a static busybox for images
 * made by tests, iptables for a host that has its own rules, python3 to look at extended attributes, the init of `docker run --init`. What is on the PATH already is used as it is. No daemon that comes along is started.
 */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { install } from '#bin/preflight.ts';
import { installDebianPackages } from '#lib/debian-packages.ts';

const clients = [
  { command: 'kubectl', package: 'kubernetes-client' },
  { command: 'docker', package: 'docker.io' },
  { command: 'docker-compose', package: 'docker-compose' },
  { command: 'skopeo', package: 'skopeo' },
  { command: 'umoci', package: 'umoci' },
  { command: 'podman', package: 'podman' },
  { command: 'buildah', package: 'buildah' },
  { command: 'docker-registry', package: 'docker-registry' },
  { command: 'busybox', package: 'busybox-static' },
  { command: 'iptables', package: 'iptables' },
  { command: 'python3', package: 'python3-minimal' },
  { command: 'curl', package: 'curl' },
  { command: 'tini-static', package: 'tini' },
  { command: 'bzip2', package: 'bzip2' },
  { command: 'xz', package: 'xz-utils' },
  { command: 'zstd', package: 'zstd' },
  { command: 'etcd', package: 'etcd-server' },
  { command: 'host-local', package: 'containernetworking-plugins', directory: '/usr/lib/cni' },
  { command: 'promtool', package: 'prometheus' },
  { command: 'faketime', package: 'faketime' },
  { command: 'git', package: 'git' },
  { command: 'slapd', package: 'slapd', directory: '/usr/sbin' },
  { command: 'sftp', package: 'openssh-client' },
];

/** Tests skip where they are not: Debian 13 has no pebble. */
const optional = [{ command: 'pebble', package: 'pebble' }];

/** Plugins are programs that no shell looks for. */
function isThere({ command, directory }: { command: string; directory?: string }): boolean {
  const path = directory === undefined ? (process.env.PATH ?? '').split(delimiter) : [directory];
  return path.some((one) => existsSync(join(one, command)));
}

export async function prepareMachine(): Promise<void> {
  if (process.getuid?.() === 0) await install((detail) => process.stderr.write(`${detail}\n`));
  const missing = clients.filter((client) => !isThere(client));
  const isRoot = process.getuid?.() === 0;
  const missed = isRoot ? optional.filter((client) => !isThere(client)) : [];
  if (missing.length + missed.length === 0) return;
  if (!isRoot)
    throw new Error(
      `The tests need ${missing.map((client) => client.command).join(', ')}: install them, or run the tests as root.`,
    );
  installDebianPackages(
    missing.map((client) => client.package),
    missed.map((client) => client.package),
  );
}
