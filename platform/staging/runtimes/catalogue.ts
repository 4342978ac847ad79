/** Which packages make which runtime. A change here makes other layers, for the builds that come. */
import type { Offer } from './runtimes.ts';

export interface Recipe {
  launch: string[];
  build: string[];
  /** What extensions in C are compiled with: a runtime of its own, `<name>-dev`. */
  dev: string[];
  /** Links that maintainer scripts or other packages would make: target by path. */
  links: Record<string, string>;
  /** Programs in place of those that need what is not there: script of this folder by path. */
  scripts: Record<string, string>;
  /** Comes as a dependency and is of no use here, or is made otherwise. */
  leftOut: string[];
  /** Scripts of this folder that mmdebstrap runs with the unpacked root. */
  hooks: string[];
}

interface Language {
  language: string;
  /** Package whose presence in the release offers a version; the group is the version in the runtime's name. */
  offeredBy: RegExp;
  /** Language whose runtime is there in any case: what the newest one has is left out. */
  beside?: string;
  recipe: (version: string) => Partial<Recipe>;
}

const C_COMPILER = ['gcc', 'g++', 'make', 'libc6-dev', 'libffi-dev', 'libpq-dev', 'libssl-dev', 'zlib1g-dev'];
/** Debian's is written in Perl. */
const C_SCRIPTS = { 'usr/local/bin/pg_config': 'pg-config.sh' };
const C_LINKS = { 'usr/local/bin/cc': '/usr/bin/gcc', 'usr/local/bin/c++': '/usr/bin/g++' };

/** What frameworks ask for; the rest of Debian's are for few. */
const PHP_EXTENSIONS = ['bcmath', 'curl', 'gd', 'intl', 'mbstring', 'mysql', 'pgsql', 'sqlite3', 'xml', 'zip'];

const LANGUAGES: readonly Language[] = [
  {
    language: 'python',
    offeredBy: /^python(3\.\d+)$/,
    recipe: (version) => ({
      // libpq5: the driver of PostgreSQL is compiled against it more often than it is installed with its own.
      launch: [`python${version}`, 'libpq5'],
      build: [`python${version}-venv`],
      dev: [`python${version}-dev`, ...C_COMPILER],
      links: {
        'usr/local/bin/python': `/usr/bin/python${version}`,
        'usr/local/bin/python3': `/usr/bin/python${version}`,
      },
      hooks: ['compile-python.sh'],
    }),
  },
  {
    language: 'openjdk',
    offeredBy: /^openjdk-(\d+)-jre-headless$/,
    recipe: (version) => ({
      launch: [`openjdk-${version}-jre-headless`],
      // curl and unzip: Maven's and Gradle's wrappers fetch with them.
      build: [`openjdk-${version}-jdk-headless`, 'maven', 'curl', 'unzip'],
      links: {
        'usr/local/bin/java': `/usr/lib/jvm/java-${version}-openjdk-${process.arch === 'x64' ? 'amd64' : process.arch}/bin/java`,
        'usr/local/bin/mvn': '/usr/share/maven/bin/mvn',
      },
      leftOut: ['ca-certificates-java', 'java-common'],
      hooks: ['trust-for-java.sh'],
    }),
  },
  {
    language: 'tomcat',
    offeredBy: /^tomcat(\d+)$/,
    beside: 'openjdk',
    recipe: (version) => ({
      launch: [`tomcat${version}-common`],
      // Java is a runtime of its own.
      leftOut: ['ca-certificates-java', 'java-common', 'default-jre-headless', 'openjdk-*'],
    }),
  },
  {
    language: 'ruby',
    offeredBy: /^ruby(\d+\.\d+)$/,
    recipe: (version) => ({
      launch: [`ruby${version}`, 'ruby', 'bundler', 'libpq5'],
      dev: [`ruby${version}-dev`, 'libyaml-dev', ...C_COMPILER],
      links: { 'usr/local/bin/ruby': `/usr/bin/ruby${version}` },
    }),
  },
  {
    language: 'php',
    offeredBy: /^php(\d+\.\d+)-fpm$/,
    recipe: (version) => ({
      // systemd-standalone-tmpfiles: where nothing else satisfies the package of FPM, it brings all of systemd.
      launch: [
        'nginx',
        'systemd-standalone-tmpfiles',
        ...['cli', 'fpm', ...PHP_EXTENSIONS].map((name) => `php${version}-${name}`),
      ],
      build: ['composer', 'unzip'],
      // Composer's first line names it.
      links: { 'usr/bin/php': `php${version}` },
      leftOut: ['systemd*', 'ucf', 'sensible-utils', 'iproute2', 'psmisc'],
    }),
  },
  {
    language: 'c',
    offeredBy: /^(gcc)$/,
    recipe: () => ({ build: C_COMPILER, links: C_LINKS, scripts: C_SCRIPTS }),
  },
];

export function offersOf(packages: Readonly<Record<string, string>>): Offer[] {
  const offers: Offer[] = [];
  for (const { language, offeredBy } of LANGUAGES) {
    for (const [name, version] of Object.entries(packages)) {
      const short = offeredBy.exec(name)?.[1];
      if (short === undefined) continue;
      offers.push({ name: `${language}-${short}`, language, version: upstreamVersion(version) });
    }
  }
  return offers.sort((left, right) => left.name.localeCompare(right.name, 'en', { numeric: true }));
}

/** `1:3.11.2-6+deb12u6` is `3.11.2`, and so is `3.11.9+really3.11.2-1`, which went back. */
function upstreamVersion(version: string): string {
  return /^(?:\d+:)?(?:.*\+really)?(\d+(?:\.\d+)*)/.exec(version)?.[1] ?? version;
}

export interface NamedRecipe extends Recipe {
  name: string;
  /** The runtime that this one goes over. */
  over?: string;
}

/** Undefined where nothing of that name is offered. */
export function recipeOf(name: string, offers: readonly Offer[]): NamedRecipe | undefined {
  const base = name.endsWith('-dev') ? name.slice(0, -4) : name;
  const offer = offers.find((each) => each.name === base);
  const language = LANGUAGES.find((each) => each.language === offer?.language);
  if (offer === undefined || language === undefined) return undefined;
  const nothing: Recipe = { launch: [], build: [], dev: [], links: {}, scripts: {}, leftOut: [], hooks: [] };
  const recipe = { ...nothing, ...language.recipe(base.slice(language.language.length + 1)) };
  const over = offers.filter((each) => each.language === language.beside).at(-1)?.name;
  if (base === name) return { ...recipe, name, ...(over === undefined ? {} : { over }) };
  if (recipe.dev.length === 0) return undefined;
  return {
    ...nothing,
    name,
    over: base,
    build: recipe.dev,
    links: C_LINKS,
    scripts: C_SCRIPTS,
    leftOut: recipe.leftOut,
  };
}
