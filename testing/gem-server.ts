/** A source of gems, as Bundler reads one (compact index): gems that tests make. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { writeTar } from '#lib/tar/write.ts';
import { fileEntry } from '#platform/staging/images/entries.ts';
import { serveFiles } from './file-server.ts';

export interface TestGem {
  name: string;
  version: string;
  /** By path: `lib/hello.rb`, `ext/hello/extconf.rb`. */
  files: Record<string, string>;
  /** Paths of extconf.rb. */
  extensions: string[];
}

export async function startGemServer(gems: readonly TestGem[]): Promise<AsyncDisposable & { url: string }> {
  const answers: Record<string, string | Buffer> = {};
  const lines: string[] = [];
  for (const gem of gems) {
    const archive = await archiveOf(gem);
    const info = `---\n${gem.version} |checksum:${createHash('sha256').update(archive).digest('hex')}\n`;
    answers[`/gems/${gem.name}-${gem.version}.gem`] = archive;
    answers[`/info/${gem.name}`] = info;
    lines.push(`${gem.name} ${gem.version} ${createHash('md5').update(info).digest('hex')}\n`);
  }
  answers['/versions'] = `created_at: 2026-01-01T00:00:00Z\n---\n${lines.join('')}`;
  return await serveFiles(answers);
}

async function archiveOf({ name, version, files, extensions }: TestGem): Promise<Buffer> {
  const list = (values: string[]) =>
    values.length === 0 ? '[]' : `\n${values.map((value) => `- ${value}`).join('\n')}`;
  const requirement = `!ruby/object:Gem::Requirement\n  requirements:\n  - - ">="\n    - !ruby/object:Gem::Version\n      version: '0'`;
  const metadata = `--- !ruby/object:Gem::Specification
name: ${name}
version: !ruby/object:Gem::Version
  version: ${version}
platform: ruby
authors: ${list(['test'])}
bindir: bin
date: 2026-01-01 00:00:00.000000000 Z
dependencies: []
executables: []
extensions: ${list(extensions)}
files: ${list(Object.keys(files))}
licenses: ${list(['Apache-2.0'])}
metadata: {}
require_paths: ${list(['lib'])}
required_ruby_version: ${requirement}
required_rubygems_version: ${requirement}
specification_version: 4
summary: of a test
test_files: []
`;
  const data = await tarOf(Object.entries(files));
  return await tarOf([
    ['metadata.gz', gzipSync(metadata)],
    ['data.tar.gz', gzipSync(data)],
  ]);
}

async function tarOf(files: [string, string | Buffer][]): Promise<Buffer> {
  const entries = files.map(([name, content]) => fileEntry(name, content));
  return Buffer.concat(await Array.fromAsync(writeTar(entries)));
}
