/** A source of gems, as Bundler reads one (compact index): gems that tests make. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { writeTar } from '#lib/tar/write.ts';
import { fileEntry } from '#platform/staging/images/entries.ts';

export interface TestGem {
  name: string;
  version: string;
  /** By path: `lib/hello.rb`, `ext/hello/extconf.rb`. */
  files: Record<string, string>;
  /** Paths of extconf.rb. */
  extensions: string[];
}

export async function startGemServer(gems: readonly TestGem[]): Promise<AsyncDisposable & { url: string }> {
  const answers = new Map<string, Buffer>();
  const lines: string[] = [];
  for (const gem of gems) {
    const archive = await archiveOf(gem);
    const info = `---\n${gem.version} |checksum:${createHash('sha256').update(archive).digest('hex')}\n`;
    answers.set(`/gems/${gem.name}-${gem.version}.gem`, archive);
    answers.set(`/info/${gem.name}`, Buffer.from(info));
    lines.push(`${gem.name} ${gem.version} ${createHash('md5').update(info).digest('hex')}\n`);
  }
  answers.set('/versions', Buffer.from(`created_at: 2026-01-01T00:00:00Z\n---\n${lines.join('')}`));
  const server = createServer((request, response) => {
    const answer = answers.get(request.url ?? '');
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
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
