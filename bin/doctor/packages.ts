/** Installs Debian packages, and leaves no service started or enabled that was not before. */
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { HostError } from '../host-error.ts';

/** Packages that bring a service of their own which we do not want: HAProxy is run by us. */
const services: Record<string, string[]> = { haproxy: ['haproxy.service'], 'nats-server': ['nats-server.service'] };

const policy = '/usr/sbin/policy-rc.d';

export function installPackages(packages: string[]): void {
  if (packages.length === 0) return;
  const units = packages.flatMap((name) => services[name] ?? []).filter((unit) => !isEnabled(unit));
  const ownPolicy = !existsSync(policy);
  if (ownPolicy) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    apt('-qq', 'update');
    apt('-qq', '-y', '-o', 'Dpkg::Options::=--force-confold', '--no-install-recommends', 'install', ...packages);
  } finally {
    if (ownPolicy) rmSync(policy, { force: true });
  }
  for (const unit of units)
    if (isEnabled(unit)) execFileSync('systemctl', ['disable', '--quiet', unit], { stdio: 'ignore' });
}

function apt(...words: string[]): void {
  try {
    execFileSync('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...words], {
      stdio: ['ignore', 2, 2],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  } catch (error) {
    throw new HostError(
      'package-missing',
      `apt-get ${words.filter((word) => !word.startsWith('-')).join(' ')} failed.`,
      'Read its message above; check the network, the proxy (http_proxy) and /etc/apt/sources.list.',
      { cause: error },
    );
  }
}

function isEnabled(unit: string): boolean {
  if (!existsSync('/usr/bin/systemctl') && !existsSync('/bin/systemctl')) return false;
  try {
    execFileSync('systemctl', ['is-enabled', '--quiet', unit], { stdio: 'ignore' });
    return true;
  } catch {
    return false; // its exit status is the answer
  }
}
