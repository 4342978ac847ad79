/**
 * Ruby through the real runtimes and buildpack. Gems come from a source of the test's own: Debian's packages of them, and one in C
 * that is compiled.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { debianGems } from '#testing/debian-files.ts';
import { lockOf, startGemServer, type TestGem } from '#testing/gem-server.ts';
import { example, refuses } from '#testing/language-apps.ts';
import { openStagingBed, type StagingBed } from '#testing/staging-bed.ts';

const RUBYGEMS = 'https://rubygems.org/';

let bench: StagingBed;

before(async () => {
  bench = await openStagingBed();
});

after(() => bench[Symbol.asyncDispose]());

test('Ruby: Sinatra and Puma by Gemfile.lock, through a mirror, in a layer that the next push uses again', async () => {
  const gems = debianGems([
    'puma',
    'ruby-mustermann',
    'ruby-nio4r',
    'ruby-rack',
    'ruby-rack-protection',
    'ruby-ruby2-keywords',
    'ruby-sinatra',
    'ruby-tilt',
  ]);
  await using mirror = await startGemServer(gems);
  const environment = { RUBYGEM_MIRROR: mirror.url };
  const source = example('ruby-sinatra');
  // The example's own names versions of the public source.
  const wanted = (source['Gemfile.lock'] ?? '').split('DEPENDENCIES\n')[1]?.split('\n\n')[0] ?? '';
  const lines = wanted.split('\n').map((line) => line.trim());
  const files: Record<string, string> = { ...source, 'Gemfile.lock': lockOf(gems, RUBYGEMS, lines) };
  const first = await bench.stage('sinatra', files, undefined, environment);
  assert.match(first.output, /Gemfile ~> 3\.0: Ruby 3\./);
  assert.deepEqual(first.stored, ['storing layer sampan/ruby:gems']);
  assert.deepEqual(first.exported.processTypes, { web: 'bundle exec puma -b tcp://0.0.0.0:$PORT' });
  assert.match((await bench.ask('sinatra')).body, /^Hello from Ruby 3\.\d+\.\d+ and Sinatra/);
  assert.equal((await bench.ask('sinatra', '/up/sampan')).body, '{"up":"SAMPAN"}');
  const purls = first.exported.components.map(({ purl }) => purl ?? '').filter((purl) => purl.startsWith('pkg:gem/'));
  const installed = gems.filter(({ name }) => name !== 'ruby2_keywords'); // Ruby has that one itself.
  assert.deepEqual(purls.sort(), installed.map(({ name, version }) => `pkg:gem/${name}@${version}`).sort());
  const changed = { ...files, 'app.rb': (files['app.rb'] ?? '').replace('Hello', 'Greetings') };
  // Without the source of gems.
  const second = await bench.stage('sinatra', changed);
  assert.match(second.output, /unchanged: taking those of the last build/);
  assert.deepEqual(second.stored, []);
  assert.match((await bench.ask('sinatra')).body, /^Greetings/);
  const stale = (files['Gemfile'] ?? '').replace('gem "puma"', 'gem "rackup"\ngem "puma"');
  await refuses(bench, 'sinatra', { ...files, Gemfile: stale }, /the command above failed \(bundle install/);
});

const COMPILED: TestGem = {
  name: 'answer',
  version: '1.2.0',
  files: {
    'lib/answer.rb': 'require "answer/answer"\n',
    'ext/answer/extconf.rb': 'require "mkmf"\ncreate_makefile("answer/answer")\n',
    'ext/answer/answer.c': `#include <ruby.h>
static VALUE answer(VALUE self) { return INT2FIX(42); }
void Init_answer(void) { rb_define_module_function(rb_define_module("Answer"), "value", answer, 0); }
`,
  },
  extensions: ['ext/answer/extconf.rb'],
};

/** Answers with an expression of Ruby. */
function server(gem: string, expression: string): string {
  return `require 'socket'
require '${gem}'
server = TCPServer.new(ENV['PORT'].to_i)
loop do
  client = server.accept
  while (line = client.gets) && line != "\\r\\n"; end
  body = ${expression}
  client.write "HTTP/1.1 200 OK\\r\\ncontent-length: #{body.size}\\r\\nconnection: close\\r\\n\\r\\n#{body}"
  client.close
end
`;
}

test('Ruby: a gem in C begins the build again with a compiler, which the app does not get', async () => {
  await using gems = await startGemServer([COMPILED]);
  const files = {
    // No group of development is asked for, and nobody has that gem.
    Gemfile: `source "${gems.url}"\nruby "~> 3.0"\ngem "answer"\ngroup(:test) { gem "none" }\n`,
    'Gemfile.lock': lockOf([COMPILED, { name: 'none', version: '1.0.0', files: {} }], gems.url, ['answer', 'none']),
    '.bundle/config': '---\nBUNDLE_PATH: "vendor/bundle"\n',
    Procfile: 'web: bundle exec ruby server.rb\n',
    'server.rb': server('answer', '"#{Answer.value} #{File.exist?(%(/usr/bin/gcc))} #{ENV[%(RACK_ENV)]}"'),
  };
  await bench.stage('compiled', files);
  assert.equal((await bench.ask('compiled')).body, '42 false production');
  const again = await bench.stage('compiled', { ...files, 'notes.txt': 'x' });
  assert.match(again.output, /unchanged: taking those of the last build/);
  assert.deepEqual(again.stored, []);
  assert.equal((await bench.ask('compiled')).body, '42 false production');
});

test('Ruby: an app without a lock, and what cannot be had', async () => {
  const plain: TestGem = { name: 'plain', version: '2.0.0', files: { 'lib/plain.rb': 'PLAIN = "plain"\n' } };
  await using gems = await startGemServer([plain]);
  const files = {
    Gemfile: `source "${gems.url}"\ngem "plain", ">= 1"\n`,
    Procfile: 'web: bundle exec ruby server.rb\n',
    'server.rb': server('plain', 'PLAIN'),
  };
  const { output } = await bench.stage('unlocked', files);
  assert.match(output, /there is no Gemfile\.lock/);
  assert.equal((await bench.ask('unlocked')).body, 'plain');
  await refuses(bench, 'refused', { 'config.ru': '' }, /there is no Gemfile: run "bundle init"/);
  await refuses(
    bench,
    'refused',
    { Gemfile: 'ruby "2.7.8"\n' },
    /Gemfile asks for Ruby "2\.7\.8", which cannot be had; there is Ruby 3\.\S+; write "~> 3\.\d+\.0" there/,
  );
});
