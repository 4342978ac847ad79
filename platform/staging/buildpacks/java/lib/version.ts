/** Which Java the source asks for, and which of those that there are it gets. */
import { existsSync, readFileSync } from 'node:fs';
import { offeredRuntimes, type RuntimeOffer } from '../../../lifecycle/runtimes.ts';

export interface AskedJava {
  where: string;
  /** As it stands there. */
  specifier: string;
  /** 8, 17 … Undefined where there is no number in it. */
  major: number | undefined;
  /** `exact` is this one, `least` one that compiles and runs for it, `hint` no more than what a jar was built with. */
  kind: 'exact' | 'least' | 'hint';
}

export type JavaChoice = { runtime: RuntimeOffer; asked: AskedJava | undefined } | { problem: string };

export function chooseJava(environment: NodeJS.ProcessEnv): JavaChoice {
  const offers = offeredRuntimes('openjdk');
  const newest = offers.at(-1);
  if (newest === undefined) return { problem: 'this platform offers no Java: its Debian release has none' };
  const asked = askedJava(environment);
  if (asked === undefined) return { runtime: newest, asked };
  const { where, specifier, major = Number.NaN, kind } = asked;
  const fitting = offers.find((offer) => (kind === 'exact' ? majorOf(offer) === major : majorOf(offer) >= major));
  if (fitting !== undefined) return { runtime: fitting, asked };
  if (kind === 'hint') return { runtime: newest, asked };
  const there = offers.map(majorOf).join(', ');
  const remedy = `write ${majorOf(newest)} there to take it`;
  return {
    problem: `${where} asks for Java ${JSON.stringify(specifier)}, which cannot be had; there is Java ${there}; ${remedy}`,
  };
}

export function majorOf(offer: RuntimeOffer): number {
  return Number(offer.name.slice(offer.name.lastIndexOf('-') + 1));
}

/** The first that says something: variables, what is there for this purpose, what the build compiles for. */
export function askedJava(environment: NodeJS.ProcessEnv): AskedJava | undefined {
  const cloudFoundry = environment['JBP_CONFIG_OPEN_JDK_JRE'];
  return (
    asked('BP_JVM_VERSION', environment['BP_JVM_VERSION'], 'exact') ??
    asked('JBP_CONFIG_OPEN_JDK_JRE', /version:\s*["']?([^\s"',}]+)/.exec(cloudFoundry ?? '')?.[1], 'exact') ??
    asked('system.properties', /^java\.runtime\.version\s*=\s*(\S+)/m.exec(read('system.properties'))?.[1], 'exact') ??
    asked('.java-version', read('.java-version').trim().split(/\s/)[0], 'exact') ??
    asked('.sdkmanrc', /^java\s*=\s*(\S+)/m.exec(read('.sdkmanrc'))?.[1], 'exact') ??
    askedByMaven(read('pom.xml')) ??
    askedByGradle(read('build.gradle') + read('build.gradle.kts')) ??
    asked('META-INF/MANIFEST.MF', /^Build-Jdk(?:-Spec)?:\s*(\S+)/m.exec(read('META-INF/MANIFEST.MF'))?.[1], 'hint')
  );
}

/** In the order in which the compiler believes them. */
const MAVEN = [
  'maven.compiler.release',
  'release',
  'maven.compiler.target',
  'java.version',
  'maven.compiler.source',
  'target',
];

export function askedByMaven(pom: string): AskedJava | undefined {
  for (const name of MAVEN) {
    const value = new RegExp(`<${name.replaceAll('.', '\\.')}>\\s*([\\d.]+)\\s*<`).exec(pom)?.[1];
    const found = asked(`pom.xml: ${name}`, value, 'least');
    if (found !== undefined) return found;
  }
  return undefined;
}

const COMPATIBILITY =
  /(?:source|target)Compatibility\s*=?\s*(?:JavaVersion\.VERSION_|JavaVersion\.toVersion\(|["'(])*\s*["']?([\d._]+)/;

export function askedByGradle(script: string): AskedJava | undefined {
  const toolchain = /(?:JavaLanguageVersion\.of|jvmToolchain)\(\s*["']?(\d+)/.exec(script)?.[1];
  return (
    asked('build.gradle: toolchain', toolchain, 'exact') ??
    asked('build.gradle: sourceCompatibility', COMPATIBILITY.exec(script)?.[1]?.replaceAll('_', '.'), 'least')
  );
}

/** `1.8` and `8` are one version; `17.0.9-tem` and `temurin-17.0.9` are 17. */
function asked(where: string, specifier: string | undefined, kind: AskedJava['kind']): AskedJava | undefined {
  if (specifier === undefined || specifier === '') return undefined;
  const major = /(?:^|[^\d.])(?:1\.)?(\d+)(?:[.\D]|$)/.exec(specifier)?.[1];
  return { where, specifier, major: major === undefined ? undefined : Number(major), kind };
}

function read(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}
