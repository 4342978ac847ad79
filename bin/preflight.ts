import { readCertificateFacts } from './doctor/certificate-facts.ts';
import { judgeCertificates } from './doctor/certificates.ts';
import { missingPackages, readFacts } from './doctor/facts.ts';
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

/**
 * Every requirement, judged for the instance that the flags name. `whole`: whether its names resolve too, and how its certificates stand: nothing
 * that starting it depends on.
 */
export async function examine(flags: InstanceFlags, options: { whole?: boolean } = {}): Promise<Finding[]> {
  const { dataDirectory } = instanceDirectories(flags);
  const instance = readInstance(flags);
  const asked = (['http', 'https', 'kubernetes', 'registry'] as const).flatMap((flag) => {
    const text = flags[flag] ?? process.env[`SAMPAN_${flag.toUpperCase()}`];
    const port = Number(text);
    return text !== undefined && port > 0 && port < 65536 && instance?.ports[flag] !== port ? [{ flag, port }] : [];
  });
  const domain = flags.domain ?? process.env.SAMPAN_DOMAIN ?? instance?.domain ?? 'sampan.localhost';
  const names = options.whole ? ['api', 'uaa', 'login', 'log-cache', 'ssh'].map((host) => `${host}.${domain}`) : [];
  const found = judge(await readFacts({ dataDirectory, ports: asked, names }));
  if (!options.whole || instance === undefined) return found;
  return [...found, ...judgeCertificates(await readCertificateFacts(instance), Date.now())];
}

/** Ends with one clear error, before anything was changed, where the machine cannot do; then installs the packages that are missing. */
export async function checkHost(flags: InstanceFlags, say: (detail: string) => void): Promise<void> {
  const findings = await examine(flags);
  throwFirstError(findings);
  if (findings.some((finding) => finding.level === 'missing')) install(say);
}

/** The gravest finding as the error of a command. */
export function throwFirstError(findings: Finding[]): void {
  const wrong = findings.find((finding) => finding.level === 'error');
  if (wrong)
    throw new HostError(wrong.code, `This machine cannot run Sampan yet: ${wrong.name}: ${wrong.found}.`, wrong.remedy);
}

/** Installs the packages that are missing. Idempotent: where none is, nothing is asked of apt. */
export function install(say: (detail: string) => void): void {
  const packages = missingPackages();
  if (packages.length === 0) return;
  say(`installing ${packages.join(' ')}`);
  installPackages(packages);
}
