/**
 * What the launcher finds in `/cnb/launch`: shell code made of the build's result, with every value quoted, so that a
 * start reads two small files and no directory.
 */
import type { BuildResult, EnvironmentChange, ResultProcess } from '../lifecycle/protocol.ts';

/** Files below `/cnb/launch`, by relative path. */
export function launchFiles(result: BuildResult): Map<string, string> {
  const layers = result.buildpacks.flatMap((buildpack) => buildpack.layers).filter((layer) => layer.launch);
  const changes = layers.flatMap((layer) => layer.environment);
  const files = new Map<string, string>();
  files.set(
    'environment',
    [
      ...changes.filter((change) => change.process === undefined).map(assignment),
      `SAMPAN_EXEC_D=${quote(layers.flatMap((layer) => layer.execD).join(' '))}`,
      `export SAMPAN_PROFILE=${quote(layers.flatMap((layer) => layer.profile).join(' '))}`,
      '',
    ].join('\n'),
  );
  for (const process of launchProcesses(result).values()) {
    const own = changes.filter((change) => change.process === process.type);
    if (own.length > 0) files.set(`processes/${process.type}/environment`, `${own.map(assignment).join('\n')}\n`);
    const words = [...process.command, ...process.args].map(quote).join(' ');
    const directory = process.workingDirectory === undefined ? '' : `cd ${quote(process.workingDirectory)} || exit 1\n`;
    files.set(`processes/${process.type}/command`, `${directory}set -- ${words}\n`);
  }
  return files;
}

/** The last process of each type, sorted by type. */
export function launchProcesses(result: BuildResult): Map<string, ResultProcess> {
  const last = new Map(result.processes.map((process) => [process.type, process]));
  return new Map([...last].sort(([left], [right]) => (left < right ? -1 : 1)));
}

/** As Cloud Foundry shows it: a line for the shell. */
export function commandLine(process: Pick<ResultProcess, 'command' | 'args'>): string {
  const words = [...process.command, ...process.args];
  const [shell, flag, line, ...others] = words;
  if ((shell === 'bash' || shell === 'sh') && flag === '-c' && line !== undefined && others.length === 0) return line;
  return words.map((word) => (/^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : quote(word))).join(' ');
}

function assignment({ name, action, value, delimiter }: EnvironmentChange): string {
  const text = quote(value);
  const between = quote(delimiter);
  switch (action) {
    case 'override':
      return `export ${name}=${text}`;
    case 'default':
      return `[ -n "\${${name}+set}" ] || export ${name}=${text}`;
    case 'append':
      return `export ${name}="\${${name}:+$${name}}"\${${name}:+${between}}${text}`;
    case 'prepend':
      return `export ${name}=${text}\${${name}:+${between}"$${name}"}`;
  }
}

export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
