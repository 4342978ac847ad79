import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Files, writeApp } from '#testing/sample-apps.ts';
import { gemOf } from './components.ts';
import { lockedGems } from './lockfile.ts';
import { startCommand } from './start-command.ts';
import { askedByGemfile } from './version.ts';

const root = mkdtempSync(join(tmpdir(), 'ruby-'));
after(() => rmSync(root, { recursive: true }));

const LOCK = `GEM
  remote: https://rubygems.org/
  specs:
    nio4r (2.7.4)
    puma (6.5.0)
      nio4r (~> 2.0)
    rack (3.1.8)

PLATFORMS
  x86_64-linux

DEPENDENCIES
  puma (~> 6.5)
`;

test('what a Gemfile says about Ruby', () => {
  assert.equal(askedByGemfile("source 'https://rubygems.org'\nruby '3.1.2' # why\n"), '3.1.2');
  assert.equal(askedByGemfile('ruby("~> 3.1", ">= 3.1.1")\n'), '~> 3.1, >= 3.1.1');
  assert.equal(askedByGemfile('ruby "ruby-3.1.2"\n'), '3.1.2');
  assert.equal(askedByGemfile("ruby file: '.ruby-version'\n"), undefined);
  assert.equal(askedByGemfile("gem 'ruby-prof', '1.0'\n"), undefined);
});

test('gems of a lockfile, those that others need among them', () => {
  const directory = writeApp(join(root, 'lock'), { 'Gemfile.lock': LOCK });
  assert.deepEqual([...lockedGems(join(directory, 'Gemfile.lock'))], ['nio4r', 'puma', 'rack']);
  assert.equal(lockedGems(join(directory, 'none')).size, 0);
});

test('gems by the names of their files', () => {
  assert.equal(gemOf('ruby-prof-1.7.1.gemspec')?.purl, 'pkg:gem/ruby-prof@1.7.1');
  assert.equal(gemOf('nokogiri-1.18.2-x86_64-linux-gnu.gemspec')?.purl, 'pkg:gem/nokogiri@1.18.2');
  assert.equal(gemOf('rails-8.0.0.rc1.gemspec')?.purl, 'pkg:gem/rails@8.0.0.rc1');
  assert.equal(gemOf('README'), undefined);
});

test('an app that does not say how it is started', () => {
  let count = 0;
  const started = (files: Files, ...gems: string[]) => {
    count += 1;
    return startCommand(new Set(gems), writeApp(join(root, String(count)), files));
  };
  const rack = { 'config.ru': 'run App' };
  assert.equal(
    started({ ...rack, 'config/application.rb': '' }, 'railties'),
    'bundle exec rails server -b 0.0.0.0 -p $PORT',
  );
  assert.equal(started(rack, 'puma'), 'bundle exec puma -b tcp://0.0.0.0:$PORT');
  assert.equal(started({ ...rack, 'config/puma.rb': 'port ENV["PORT"]\n' }, 'puma'), 'bundle exec puma');
  assert.equal(
    started({ ...rack, 'config/puma.rb': 'workers 2\n' }, 'puma'),
    'bundle exec puma -b tcp://0.0.0.0:$PORT',
  );
  assert.equal(started(rack), 'bundle exec rackup -o 0.0.0.0 -p $PORT');
  assert.equal(started({ 'Gemfile.lock': LOCK }, 'puma'), undefined);
});
