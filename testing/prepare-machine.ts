/**
 * Installs the clients that the tests drive, where they are missing: kubectl, docker, skopeo, and a static busybox for
 * the images made by tests. What is on the PATH already is used as it is. No daemon that comes along is started.
 */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { installDebianPackages } from '#lib/debian-packages.ts';

const clients = [
  { command: 'kubectl', package: 'kubernetes-client' },
  { command: 'docker', package: 'docker.io' },
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
  installDebianPackages(missing.map((client) => client.package));
}
