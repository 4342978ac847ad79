/**
 * The units of an instance, where systemd is PID 1: written by `up`, so that a boot brings the platform back, and
 * removed by `down`. The agent's ends its main process alone (`KillMode=process`): conmon, which it started, outlives it, as
 * the apps do. HAProxy has a unit of its own, and what else the platform starts (a build of the base stack) ends with it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from './host-error.ts';

export interface UnitOptions {
  instance: string;
  role: string;
  command: string[];
  /** Settings of the network: a unit starts with none of the shell's. In a file, since a proxy may have a password. */
  environmentFile: string;
  /** systemd 254 or later: it can wait longer each time. Earlier ones try five times a second. */
  canBackOff: boolean;
}

const directory = '/etc/systemd/system';

export const unitName = (instance: string, role: string): string => `sampan-${instance}-${role}.service`;

export function systemdIsInit(): boolean {
  return existsSync('/run/systemd/system');
}

/** `LimitNOFILE` is a number: HAProxy sizes its tables by it, and "infinity" costs it gigabytes. */
export function unitText({ instance, role, command, environmentFile, canBackOff }: UnitOptions): string {
  return `[Unit]
Description=Sampan ${role} (instance ${instance})
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=${command.map((word) => quote(word).replaceAll('$', '$$$$')).join(' ')}
EnvironmentFile=-${environmentFile.replaceAll('%', '%%')}
Restart=always
RestartSec=200ms
${canBackOff ? 'RestartSteps=5\nRestartMaxDelaySec=5s\n' : ''}KillMode=${role === 'agent' ? 'process' : 'mixed'}
TimeoutStopSec=20s
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
OOMScoreAdjust=-500
${role === 'agent' ? 'OOMPolicy=continue\n' : ''}
[Install]
WantedBy=multi-user.target
`;
}

/** systemd.syntax(7): quotes, C escapes and specifiers. Only command lines know `$`. */
function quote(word: string): string {
  const escaped = word.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%').replaceAll('\n', '\\n');
  return `"${escaped}"`;
}

/** The settings by which a role reaches the registries from here; the same names that the bootstrap and npm honour. */
export function networkSettings(environment: NodeJS.ProcessEnv): Record<string, string> {
  const names = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'].flatMap((name) => [name, name.toUpperCase()]);
  names.push('NODE_EXTRA_CA_CERTS', 'NODE_USE_SYSTEM_CA', 'npm_config_registry', 'npm_config_cafile');
  return Object.fromEntries(names.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])));
}

/** systemd.exec(5), EnvironmentFile. */
export function environmentText(settings: Record<string, string>): string {
  const quoted = (value: string): string => `"${value.replaceAll(/[\\"`$]/g, '\\$&').replaceAll('\n', '')}"`;
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${quoted(value)}\n`)
    .join('');
}

/** Writes, enables and starts the units. What runs already goes on, also where its unit's text has changed. */
export function startUnits(units: UnitOptions[]): void {
  let changed = false;
  for (const unit of units) {
    const path = join(directory, unitName(unit.instance, unit.role));
    const text = unitText(unit);
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
    writeFileSync(path, text);
    changed = true;
  }
  if (changed) systemctl('daemon-reload');
  systemctl('enable', '--quiet', '--now', ...units.map((unit) => unitName(unit.instance, unit.role)));
}

/** Stops, disables and removes the units of these roles, in their order. Idempotent. */
export function stopUnits(instance: string, roles: string[]): void {
  const units = roles.map((role) => unitName(instance, role)).filter((unit) => existsSync(join(directory, unit)));
  if (units.length === 0) return;
  for (const unit of units) systemctl('disable', '--quiet', '--now', unit);
  for (const unit of units) rmSync(join(directory, unit), { force: true });
  systemctl('daemon-reload');
}

export function canBackOff(): boolean {
  return Number(/^systemd (\d+)/.exec(systemctl('--version'))?.[1] ?? 0) >= 254;
}

/** The last lines that a role logged; a word on why there are none where the journal cannot be read. */
export function unitLogTail(instance: string, role: string): string {
  try {
    return execFileSync('journalctl', ['-u', unitName(instance, role), '-n', '12', '-o', 'cat', '--no-pager'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trimEnd();
  } catch (error) {
    return `(the journal cannot be read: ${(error as Error).message})`;
  }
}

function systemctl(...words: string[]): string {
  try {
    return execFileSync('systemctl', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new HostError(
      'io',
      `systemctl ${words.join(' ')} failed: ${stderr?.trim() || (error as Error).message}.`,
      'Read `systemctl status` and `journalctl -xe`.',
      { cause: error },
    );
  }
}
