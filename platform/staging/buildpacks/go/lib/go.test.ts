import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeApp } from '#testing/sample-apps.ts';
import { goComponents } from './components.ts';
import { parseModuleFile } from './module-file.ts';
import { moduleHash } from './module-hash.ts';
import { defaultTargets, namedTargets, processesOf, programName } from './targets.ts';
import { askedGo, chooseGo } from './version.ts';

const PUBLISHED = ['1.20.14', '1.21.0', '1.22.5', '1.22.12', '1.26rc1', '1.26.8', '1.27.4'];

test('the version by variables, the toolchain line and the go line', () => {
  const chosen = (text: string, environment: NodeJS.ProcessEnv = {}) => {
    const asked = askedGo(parseModuleFile('go.mod', text), environment);
    return asked && chooseGo(asked, PUBLISHED);
  };
  assert.equal(chosen('module x\n'), undefined);
  assert.equal(chosen('module x\ngo 1.22\n'), '1.22.12');
  assert.equal(chosen('module x\r\ngo 1.22.3 // or later\r\n'), '1.22.12');
  assert.equal(chosen('module x\ngo 1.22.13\n'), '1.27.4', 'a later Go, as the line names the least');
  assert.equal(chosen('module x\ngo 1.9\n'), '1.27.4');
  assert.equal(chosen('module x\ngo 1.28\n'), undefined);
  assert.equal(chosen('module x\ngo 2.0\n'), undefined);
  assert.equal(chosen('module x\ngo 1.22.0\ntoolchain go1.22.5\n'), '1.22.5');
  assert.equal(chosen('module x\ngo 1.22.0\ntoolchain go1.22.6\n'), undefined);
  assert.equal(chosen('module x\ngo 1.22.0\ntoolchain default\n'), '1.22.12');
  assert.equal(chosen('module x\ngo 1.22\n', { BP_GO_VERSION: '1.27.*' }), '1.27.4');
  assert.equal(chosen('module x\ngo 1.22\n', { GOVERSION: 'go1.26' }), '1.26.8');
  assert.equal(chosen('module x\ngo 1.22\n', { GOVERSION: 'go1.25' }), undefined);
  assert.equal(chosen('module x\ngo 1.22\n', { GOVERSION: 'newest' }), undefined);
  assert.equal(chosen('module x\ngo 1.22\n', { GOTOOLCHAIN: 'go1.26rc1+auto' }), '1.26rc1');
  assert.equal(chosen('module x\ngo 1.22\n', { GOTOOLCHAIN: 'local' }), '1.22.12');
});

test('programs: those that are named, the root, those below cmd, all', () => {
  const main = (...paths: string[]) => paths.map((path) => ({ importPath: `x/${path}`, path }));
  assert.deepEqual(namedTargets({ BP_GO_TARGETS: './cmd/b:./cmd/a' }), ['./cmd/b', './cmd/a']);
  assert.deepEqual(namedTargets({ GO_INSTALL_PACKAGE_SPEC: './cmd/a .' }), ['./cmd/a', '.']);
  assert.deepEqual(namedTargets({ BP_GO_TARGETS: '' }), []);
  assert.deepEqual(defaultTargets(main('.', './cmd/a')), ['.']);
  assert.deepEqual(defaultTargets(main('./cmd/a', './cmd/b', './tools/c')), ['./cmd/a', './cmd/b']);
  assert.deepEqual(defaultTargets(main('./a', './b')), ['./a', './b']);
  assert.equal(programName('example.com/shop/v2'), 'shop');
  assert.equal(programName('example.com/shop/cmd/web'), 'web');
  const processes = (...paths: string[]) => processesOf(main(...paths)).map(({ type, command }) => [type, command]);
  assert.deepEqual(processes('cmd/api', 'cmd/jobs'), [
    ['web', 'exec api'],
    ['jobs', 'exec jobs'],
  ]);
  assert.deepEqual(processes('cmd/api', 'cmd/web'), [
    ['api', 'exec api'],
    ['web', 'exec web'],
  ]);
  assert.throws(() => processes('a/server', 'b/server'), /a\/server and b\/server are both called server/);
});

test("a module's hash is the one that Go's checksum database has", () => {
  const root = writeApp(mkdtempSync(join(tmpdir(), 'hash-')), {
    'go.mod': 'module example.com/m\n',
    'a/a.go': 'package a\n',
  });
  assert.equal(moduleHash(root, 'example.com/m@v1.0.0'), 'h1:POPQvf0InYEdFgc0mkzVlK37GvxeOagtlcqkhdhwOXU=');
  rmSync(root, { recursive: true });
});

test('what a program is made of', () => {
  const output = [
    '/layers/targets/bin/web: go1.26.8',
    '\tpath\texample.com/shop/cmd/web',
    '\tmod\texample.com/shop\t(devel)\t',
    '\tdep\tgithub.com/go-chi/chi/v5\tv5.2.1\th1:KOIHODQj58PmL80G2Eak4WdvUzjSJSm0vG72crDCqb8=',
    '\tdep\tgithub.com/old/mail\tv1.0.0+incompatible',
    '\t=>\tgithub.com/new/mail\tv1.1.0+incompatible\th1:a=',
    '\tdep\texample.com/beside\tv0.0.0-00010101000000-000000000000',
    '\t=>\t./beside\t(devel)\t',
    '\tbuild\t-trimpath=true',
  ].join('\n');
  assert.deepEqual(
    goComponents(output).map(({ purl }) => purl),
    [
      'pkg:golang/stdlib@1.26.8',
      'pkg:golang/github.com/go-chi/chi/v5@v5.2.1',
      'pkg:golang/github.com/new/mail@v1.1.0%2Bincompatible',
      'pkg:golang/example.com/beside@v0.0.0-00010101000000-000000000000',
    ],
  );
});
