/** A source of gems, as Bundler reads one (compact index): gems that tests make, or have from elsewhere. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { writeTar } from '#lib/tar/write.ts';
import { fileEntry } from '#platform/staging/images/entries.ts';
import { serveFiles } from './file-server.ts';

export interface TestGem {
  name: string;
  version: string;
  /** By path: `lib/hello.rb`, `ext/hello/extconf.rb`. */
  files: Record<string, string | Buffer>;
  /** What is compiled when it is installed: paths of extconf.rb. */
  extensions?: string[];
  /** In `bin`. */
  executables?: string[];
  /** Requirements by name: `["~> 2.2", ">= 2.2.4"]`. */
  dependencies?: Record<string, string[]>;
  /** `x86_64-linux`: it comes compiled for that; default for every one. */
  platform?: string;
}

export async function startGemServer(gems: readonly TestGem[]): Promise<AsyncDisposable & { url: string }> {
  const answers: Record<string, string | Buffer> = {};
  const lines: string[] = [];
  for (const gem of gems) {
    const archive = await archiveOf(gem);
    const needs = Object.entries(gem.dependencies ?? {}).map(([name, wanted]) => `${name}:${wanted.join('&')}`);
    const checksum = createHash('sha256').update(archive).digest('hex');
    const info = `---\n${fullVersion(gem)} ${needs.join(',')}|checksum:${checksum}\n`;
    answers[`/gems/${gem.name}-${fullVersion(gem)}.gem`] = archive;
    answers[`/info/${gem.name}`] = info;
    lines.push(`${gem.name} ${fullVersion(gem)} ${createHash('md5').update(info).digest('hex')}\n`);
  }
  answers['/versions'] = `created_at: 2026-01-01T00:00:00Z\n---\n${lines.join('')}`;
  return await serveFiles(answers);
}

/** Gemfile.lock of a Gemfile that asks for `wanted` (lines as `sinatra (~> 3.0)`) and gets these gems. */
export function lockOf(gems: readonly TestGem[], remote: string, wanted: readonly string[]): string {
  const specs = gems.flatMap((gem) => [
    `    ${gem.name} (${fullVersion(gem)})`,
    ...Object.entries(gem.dependencies ?? {}).map(([name, needs]) => `      ${name} (${needs.join(', ')})`),
  ]);
  const platforms = [...new Set(gems.map(({ platform = 'ruby' }) => platform))].sort();
  const sections = [
    ['GEM', `  remote: ${remote}`, '  specs:', ...specs],
    ['PLATFORMS', ...platforms.map((name) => `  ${name}`)],
    ['DEPENDENCIES', ...wanted.map((line) => `  ${line}`)],
  ];
  return `${sections.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

function fullVersion({ version, platform }: TestGem): string {
  return platform === undefined ? version : `${version}-${platform}`;
}

async function archiveOf(gem: TestGem): Promise<Buffer> {
  const data = await tarOf(Object.entries(gem.files));
  return await tarOf([
    ['metadata.gz', gzipSync(specificationOf(gem))],
    ['data.tar.gz', gzipSync(data)],
  ]);
}

/** As RubyGems writes a specification into a gem. */
function specificationOf(gem: TestGem): string {
  const { name, version, files, extensions = [], executables = [], dependencies = {}, platform = 'ruby' } = gem;
  const needs = Object.entries(dependencies).map(
    ([each, wanted]) => `- !ruby/object:Gem::Dependency
  name: ${each}
  requirement: ${requirement(wanted, '    ')}
  type: :runtime
  prerelease: false
  version_requirements: ${requirement(wanted, '    ')}
`,
  );
  return `--- !ruby/object:Gem::Specification
name: ${name}
version: !ruby/object:Gem::Version
  version: ${version}
platform: ${platform}
authors: ${list(['test'])}
bindir: bin
date: 2026-01-01 00:00:00.000000000 Z
dependencies:${needs.length === 0 ? ' []\n' : `\n${needs.join('')}`}executables: ${list(executables)}
extensions: ${list(extensions)}
files: ${list(Object.keys(files))}
licenses: ${list(['Apache-2.0'])}
metadata: {}
require_paths: ${list(['lib'])}
required_ruby_version: ${requirement(['>= 0'], '  ')}
required_rubygems_version: ${requirement(['>= 0'], '  ')}
specification_version: 4
summary: of a test
test_files: []
`;
}

function list(values: readonly string[]): string {
  return values.length === 0 ? '[]' : `\n${values.map((value) => `- ${JSON.stringify(value)}`).join('\n')}`;
}

function requirement(wanted: readonly string[], indent: string): string {
  const pairs = wanted.map((text) => {
    const [operator = '', version = ''] = text.split(' ');
    return `${indent}- - ${JSON.stringify(operator)}\n${indent}  - !ruby/object:Gem::Version\n${indent}    version: ${JSON.stringify(version)}`;
  });
  return `!ruby/object:Gem::Requirement\n${indent}requirements:\n${pairs.join('\n')}`;
}

async function tarOf(files: [string, string | Buffer][]): Promise<Buffer> {
  const entries = files.map(([name, content]) => fileEntry(name, content));
  return Buffer.concat(await Array.fromAsync(writeTar(entries)));
}
