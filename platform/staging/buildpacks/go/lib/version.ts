/** Which Go the source asks for, and which of those that there are it gets. */
import type { ModuleFile } from './module-file.ts';

export interface AskedGo {
  where: string;
  version: string;
  /**
   * `exact` is this very release, `minor` the newest with these numbers. `least` is what the `go` line means: the newest of its
   * minor version, or a later Go where there is no such one.
   */
  kind: 'exact' | 'minor' | 'least';
}

const RELEASE = /^\d+\.\d+\.\d+$/;
const VERSION = /^\d+(\.\d+){0,2}((rc|beta)\d+)?$/;

/** The variables of Paketo, Cloud Foundry and Go, then go.mod. */
export function askedGo(file: ModuleFile, environment: NodeJS.ProcessEnv): AskedGo | undefined {
  for (const where of ['BP_GO_VERSION', 'GOVERSION']) {
    const value = environment[where];
    if (value === undefined || value === '') continue;
    const version = value.replace(/^go/, '').replace(/\.[*x]$/, '');
    return { where, version, kind: RELEASE.test(version) || !/^[\d.]+$/.test(version) ? 'exact' : 'minor' };
  }
  // `auto`, `local` and `path` say nothing about a version.
  const chosen = /^go(\d[^+]*)/.exec(environment['GOTOOLCHAIN'] ?? '')?.[1];
  if (chosen !== undefined) return { where: 'GOTOOLCHAIN', version: chosen, kind: 'exact' };
  if (file.toolchain !== undefined) return { where: `${file.name}: toolchain`, version: file.toolchain, kind: 'exact' };
  if (file.go !== undefined) return { where: `${file.name}: go`, version: file.go, kind: 'least' };
  return undefined;
}

/** Whether it can be the name of a release at all: it becomes part of addresses and of the name of a layer. */
export function isGoVersion(version: string): boolean {
  return VERSION.test(version);
}

/** Undefined where none of the releases will do. */
export function chooseGo({ version, kind }: AskedGo, releases: readonly string[]): string | undefined {
  if (kind === 'exact') return releases.includes(version) ? version : undefined;
  const [major, minor] = numbers(version);
  const stable = releases
    .filter((each) => !/[a-z]/.test(each) && compare(each, version) >= 0 && numbers(each)[0] === major)
    .sort(compare);
  const same = stable.filter((each) => minor === undefined || numbers(each)[1] === minor);
  return (same.length === 0 && kind === 'least' ? stable : same).at(-1);
}

/** For who asked for something else: the newest release of each of the last minor versions. */
function newestOfEach(published: readonly string[], most = 6): string[] {
  const newest = new Map<string, string>();
  for (const version of published.filter((each) => !/[a-z]/.test(each)).sort(compare)) {
    newest.set(numbers(version).slice(0, 2).join('.'), version);
  }
  return [...newest.values()].slice(-most);
}

export function refusal(asked: AskedGo, published: readonly string[]): string {
  const there = `${newestOfEach(published).join(', ')}, and older ones`;
  return `${asked.where} asks for Go ${JSON.stringify(asked.version)}, which cannot be had; there are ${there}`;
}

function numbers(version: string): number[] {
  return version.split('.').map((part) => Number.parseInt(part, 10));
}

function compare(left: string, right: string): number {
  const [a, b] = [numbers(left), numbers(right)];
  for (let index = 0; index < 3; index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
