import { requiredCommands, readFacts } from './doctor/facts.ts';
import { installPackages } from './doctor/packages.ts';
import { type Finding, judge } from './doctor/requirements.ts';
import { HostError } from './host-error.ts';
import { type InstanceFlags, instanceDirectories, readInstance } from './instance.ts';

export function requireRoot(what: string): void {
  if (process.getuid?.() === 0) return;
  throw new HostError(
    'not-root',
    `${what} needs root: containers, networks and ports below 1024 are made by it.`,
    'Run the command as root, for example with sudo.',
  );
}

/** Every requirement, judged for the instance that the flags name. */
export async function examine(flags: InstanceFlags): Promise<Finding[]> {
  const { dataDirectory } = instanceDirectories(flags);
  const instance = readInstance(flags);
  const asked = (['http', 'https', 'kubernetes', 'registry'] as const).flatMap((flag) => {
    const text = flags[flag] ?? process.env[`SAMPAN_${flag.toUpperCase()}`];
    const port = Number(text);
    return text !== undefined && port > 0 && port < 65536 && instance?.ports[flag] !== port ? [{ flag, port }] : [];
  });
  const domain = flags.domain ?? process.env.SAMPAN_DOMAIN ?? instance?.domain ?? 'sampan.localhost';
  return judge(await readFacts({ dataDirectory, ports: asked, domain }));
}

/** Ends with one clear error, before anything was changed, where the machine cannot do; then installs the packages that are missing. */
export async function checkHost(flags: InstanceFlags, say: (detail: string) => void): Promise<void> {
  const findings = await examine(flags);
  throwFirstError(findings);
  if (findings.some((finding) => finding.level === 'missing')) await install(say);
}

/** The gravest finding as the error of a command. */
export function throwFirstError(findings: Finding[]): void {
  const wrong = findings.find((finding) => finding.level === 'error');
  if (wrong)
    throw new HostError(wrong.code, `This machine cannot run Sampan yet: ${wrong.name}: ${wrong.found}.`, wrong.remedy);
}

export async function install(say: (detail: string) => void): Promise<void> {
  const facts = await readFacts({ dataDirectory: '/', ports: [], domain: 'localhost' });
  const packages = Object.entries(requiredCommands).flatMap(([command, name]) =>
    facts.commands[command] ? [] : [name],
  );
  if (!facts.caBundle) packages.push('ca-certificates');
  const wanted = [...new Set(packages)];
  if (wanted.length === 0) return;
  say(`installing ${wanted.join(' ')}`);
  installPackages(wanted);
}
