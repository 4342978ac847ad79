/**
 * Installs Debian packages without what they would start: no service of theirs runs or is enabled afterwards that was not
 * before. A Debian package's own way is to enable and start its service at once.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** invoke-rc.d(8) and deb-systemd-invoke(1p) ask it before each start; 101 forbids. */
const policy = '/usr/sbin/policy-rc.d';
const policyMark = '# no service starts while these packages are installed';

/**
 * Needs root. What apt says goes to standard error. Throws what `execFileSync` throws. Idempotent.
 * @param optional  those that not every release has: where there is none it is left out
 */
export function installDebianPackages(packages: string[], optional: string[] = []): void {
  if (packages.length === 0 && !optional.some(isKnown)) return;
  const before = new Set(enabledServices());
  const removePolicy = forbidStarts();
  try {
    updateLists();
    apt(
      '-y',
      '-o',
      'Dpkg::Options::=--force-confdef',
      '-o',
      'Dpkg::Options::=--force-confold',
      '--no-install-recommends',
      'install',
      ...packages,
      ...optional.filter(isKnown),
    );
  } finally {
    removePolicy();
    disable(enabledServices().filter((service) => !before.has(service)));
  }
}

function apt(...words: string[]): void {
  execFileSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Dpkg::Use-Pty=0', ...words], {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

function isKnown(name: string): boolean {
  try {
    execFileSync('apt-cache', ['show', name], { stdio: 'ignore' });
    return true;
  } catch {
    // Its status says that there is none.
    return false;
  }
}

/** apt waits for dpkg's lock, but not for the lock of its lists, which another update may hold. */
function updateLists(): void {
  for (let attempt = 0; ; attempt++) {
    try {
      execFileSync('apt-get', ['-qq', 'update'], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, LC_ALL: 'C.UTF-8' },
      });
      return;
    } catch (error) {
      const said = String((error as { stderr?: Buffer }).stderr ?? '');
      if (attempt >= 60 || !/Could not get lock|Unable to lock/.test(said)) {
        process.stderr.write(said);
        throw error;
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000);
    }
  }
}

/** A policy of somebody else's stays. Ours holds while this process lives, so that a killed one leaves nothing forbidden. */
function forbidStarts(): () => void {
  if (existsSync(policy) && !readFileSync(policy, 'utf8').includes(policyMark)) return () => undefined;
  writeFileSync(policy, `#!/bin/sh\n${policyMark}\n[ ! -d /proc/${process.pid} ] || exit 101\n`, { mode: 0o755 });
  return () => rmSync(policy, { force: true });
}

function linksTo(unit: string): string[] {
  return list('/etc/systemd/system')
    .filter((name) => /\.(wants|requires)$/.test(name))
    .map((name) => join('/etc/systemd/system', name, unit));
}

/** By the links that make a boot start them: systemd's, and those of System V's scripts. */
function enabledServices(): string[] {
  const units = list('/etc/systemd/system')
    .filter((name) => /\.(wants|requires)$/.test(name))
    .flatMap((name) => list(join('/etc/systemd/system', name)));
  const scripts = list('/etc')
    .filter((name) => /^rc[2-5]\.d$/.test(name))
    .flatMap((name) => list(join('/etc', name)))
    .flatMap((name) => /^S\d\d(.+)$/.exec(name)?.[1] ?? []);
  return [...new Set([...units, ...scripts.map((name) => `/etc/init.d/${name}`)])];
}

function disable(services: string[]): void {
  const run = (command: string, ...words: string[]): void =>
    void execFileSync(command, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  for (const service of services) {
    if (service.startsWith('/etc/init.d/')) {
      if (existsSync('/usr/sbin/update-rc.d')) run('update-rc.d', basename(service), 'disable');
    } else if (existsSync('/usr/bin/systemctl')) run('systemctl', 'disable', '--quiet', service);
    else for (const link of linksTo(service)) rmSync(link, { force: true }); // no systemd yet: it would start it
  }
}

function list(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
