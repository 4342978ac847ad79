/** Files of Debian's packages, which are installed nowhere, and gems as those packages have them. */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { TestGem } from './gem-server.ts';
import { filesBelow } from './language-apps.ts';

/** @returns the directory that holds each of them, unpacked, by its name; it goes with the caller's `using` */
export function debianFiles(packages: readonly string[]): Disposable & { directory: string } {
  const work = mkdtempSync(join(tmpdir(), 'debian-'));
  const directory = join(work, 'root');
  const release = () => rmSync(work, { recursive: true, force: true });
  try {
    execFileSync('apt-get', ['download', '--quiet', '--quiet', ...packages], {
      cwd: work,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const archives = readdirSync(work);
    mkdirSync(directory);
    for (const name of archives)
      execFileSync('dpkg-deb', ['--extract', join(work, name), join(directory, name.split('_', 1)[0] ?? '')]);
  } catch (error) {
    release();
    throw error;
  }
  return { directory, [Symbol.dispose]: release };
}

/**
 * Real gems where the public source of gems is not reached. Extensions come compiled, as gems of this processor: Debian's packages
 * have not their source.
 */
export function debianGems(packages: readonly string[]): TestGem[] {
  using files = debianFiles(packages);
  const gems = packages.flatMap((name) => gemsBelow(join(files.directory, name)));
  return gems.sort((left, right) => (left.name < right.name ? -1 : 1));
}

function gemsBelow(directory: string): TestGem[] {
  const specifications = globSync('usr/{share,lib/*}/rubygems-integration/*/specifications/*.gemspec', {
    cwd: directory,
  });
  return specifications.map((path) => gemOf(directory, join(directory, path)));
}

function gemOf(directory: string, specification: string): TestGem {
  const text = readFileSync(specification, 'utf8');
  const full = basename(specification, '.gemspec');
  const [, name = '', version = ''] = /^(.+)-([\d.]+)$/.exec(full) ?? [];
  const root = join(specification, '..', '..');
  const files = filesOf(directory, join(root, 'gems', full));
  for (const path of globSync(`extensions/*/*/${full}/**/*.so`, { cwd: root }))
    files[join('lib', path.slice(path.indexOf(`${full}/`) + full.length + 1))] = readFileSync(join(root, path));
  const compiled = Object.keys(files).some((path) => path.endsWith('.so'));
  const executables = words(/\bs\.executables = \[([^\]]*)\]/.exec(text)?.[1]);
  return {
    name,
    version,
    files,
    executables: executables.filter((each) => files[`bin/${each}`] !== undefined),
    dependencies: dependenciesOf(text),
    ...(compiled ? { platform: `${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux` } : {}),
  };
}

/** Some packages have their library where Ruby finds it without gems. */
function filesOf(directory: string, gem: string): Record<string, Buffer> {
  if (existsSync(gem)) return filesBelow(gem);
  const library = Object.entries(filesBelow(join(directory, 'usr', 'lib', 'ruby', 'vendor_ruby')));
  return Object.fromEntries(library.map(([path, content]) => [join('lib', path), content]));
}

/** RubyGems writes a second list, with those of development among them, for versions of itself that are no more. */
function dependenciesOf(text: string): Record<string, string[]> {
  const word = text.includes('add_runtime_dependency') ? 'add_runtime_dependency' : 'add_dependency';
  const lines = text.matchAll(new RegExp(`\\.${word}\\(%q<([^>]+)>[^,]*, \\[([^\\]]*)\\]`, 'g'));
  return Object.fromEntries([...lines].map(([, name = '', wanted]) => [name, words(wanted)]));
}

/** Of a list in Ruby: `"puma".freeze, "pumactl".freeze`. */
function words(list = ''): string[] {
  return [...list.matchAll(/"([^"]*)"/g)].map(([, word = '']) => word);
}
