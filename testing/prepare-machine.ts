/**
 * Installs the clients that the tests drive, where they are missing: kubectl, docker, skopeo, and a static busybox for
 * the images made by tests. What is on the PATH already is used as it is. Debian's docker.io brings a daemon: its
 * service is masked before, so that it neither starts nor stays enabled.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Client {
  command: string;
  package: string;
  /** Units to mask while the package is installed. */
  units?: string[];
}

const clients: Client[] = [
  { command: 'kubectl', package: 'kubernetes-client' },
  { command: 'docker', package: 'docker.io', units: ['docker.service', 'docker.socket', 'containerd.service'] },
  { command: 'skopeo', package: 'skopeo' },
  { command: 'busybox', package: 'busybox-static' },
];

function onPath(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => existsSync(join(directory, command)));
}

export function prepareMachine(): void {
  const missing = clients.filter((client) => !onPath(client.command));
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0)
    throw new Error(
      `The tests need ${missing.map((client) => client.command).join(', ')}: install them, or run the tests as root.`,
    );
  const units = existsSync('/run/systemd/system') ? missing.flatMap((client) => client.units ?? []) : [];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]): void =>
    void execFileSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], { env, stdio: ['ignore', 2, 2] });
  if (units.length > 0) execFileSync('systemctl', ['mask', '--quiet', ...units]);
  apt('update');
  apt('-y', '--no-install-recommends', 'install', ...missing.map((client) => client.package));
}
