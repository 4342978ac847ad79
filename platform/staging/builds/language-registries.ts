/** Where the host gets packages of languages other than Node.js: settings that builds are given too. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Lists of addresses, with `,` or `|` or space between them, and Go's words. */
const VARIABLES = [
  'PIP_INDEX_URL',
  'PIP_EXTRA_INDEX_URL',
  'UV_DEFAULT_INDEX',
  'GOPROXY',
  'GOSUMDB',
  'GONOSUMDB',
  'MAVEN_MIRROR_URL',
  'RUBYGEM_MIRROR',
  'COMPOSER_MIRROR',
];

/** By the name of the variable that says it; the variable itself goes before the tool's own file. */
export function languageRegistries(
  environment: NodeJS.ProcessEnv = process.env,
  home = homedir(),
): Record<string, string> {
  const go = setting([environment['GOENV'] ?? join(home, '.config/go/env')], (name) => `${name}=(.+)`);
  const pip = setting(
    [join(home, '.config/pip/pip.conf'), join(home, '.pip/pip.conf'), '/etc/pip.conf'],
    (name) => `${name}\\s*=\\s*(\\S+)`,
  );
  const bundler = setting([join(home, '.bundle/config')], (name) => `${name}:\\s*"?([^\\s"]+)"?`);
  const files: Record<string, string | undefined> = {
    PIP_INDEX_URL: pip('index-url'),
    PIP_EXTRA_INDEX_URL: pip('extra-index-url'),
    GOPROXY: go('GOPROXY'),
    GOSUMDB: go('GOSUMDB'),
    GONOSUMDB: go('GONOSUMDB'),
    MAVEN_MIRROR_URL: mavenMirror(join(home, '.m2/settings.xml')),
    RUBYGEM_MIRROR: bundler('BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/?') ?? bundler('BUNDLE_MIRROR__ALL'),
    COMPOSER_MIRROR: packagistMirror([join(home, '.config/composer/config.json'), join(home, '.composer/config.json')]),
  };
  const found: Record<string, string> = {};
  for (const name of VARIABLES) {
    const value = environment[name] || files[name];
    if (value !== undefined && value !== '') found[name] = value;
  }
  return found;
}

/** The hosts among them. */
export function registryAddresses(registries: Readonly<Record<string, string>>): string[] {
  return Object.values(registries)
    .flatMap((value) => value.split(/[,|\s]+/))
    .filter((word) => /^https?:/.test(word));
}

function setting(paths: readonly string[], pattern: (name: string) => string): (name: string) => string | undefined {
  const texts = paths.filter((path) => existsSync(path)).map((path) => readFileSync(path, 'utf8'));
  return (name) => {
    for (const text of texts) {
      const value = new RegExp(`^\\s*${pattern(name)}\\s*$`, 'm').exec(text)?.[1];
      if (value !== undefined) return value;
    }
    return undefined;
  };
}

/** Of the whole of Maven's repositories, or of the central one. */
function mavenMirror(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const mirrors = readFileSync(path, 'utf8').match(/<mirror>[\s\S]*?<\/mirror>/g) ?? [];
  const fitting = mirrors.find((mirror) => /<mirrorOf>\s*(\*|central|external:\*)\s*</.test(mirror));
  return /<url>\s*(\S+?)\s*<\/url>/.exec(fitting ?? '')?.[1];
}

/** As `composer config --global repos.packagist.org composer URL` writes it. */
function packagistMirror(paths: readonly string[]): string | undefined {
  const path = paths.find((each) => existsSync(each));
  if (path === undefined) return undefined;
  const text = readFileSync(path, 'utf8');
  return /"packagist(?:\.org)?"\s*:\s*\{[^}]*"url"\s*:\s*"([^"]+)"/.exec(text)?.[1]?.replaceAll('\\/', '/');
}
