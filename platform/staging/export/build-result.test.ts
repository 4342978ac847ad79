import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { BuildResult, ResultLayer } from '../lifecycle/protocol.ts';
import { parseBuildResult } from './build-result.ts';
import { commandLine, launchFiles } from './launch.ts';

const layer: ResultLayer = {
  name: 'l',
  launch: true,
  build: false,
  cache: false,
  metadata: '',
  content: 'changed',
  environment: [],
  profile: [],
  execD: [],
};
const empty = { runtimes: [], buildpacks: [], processes: [], workspaceUnchanged: true, workspaceLinks: [], labels: [] };

test('a result that is not one is refused', () => {
  const bad: unknown[] = [
    'nonsense',
    { ...empty, processes: undefined },
    { ...empty, workspaceUnchanged: 'yes' },
    { ...empty, workspaceLinks: [{ name: '../etc', target: 'x' }] },
    { ...empty, workspaceLinks: [{ name: '.wh.a', target: 'x' }] },
    { ...empty, workspaceLinks: [{ name: 'a', target: 'x\ny' }] },
    { ...empty, processes: [{ type: '../web', command: ['x'], args: [], default: true }] },
    { ...empty, processes: [{ type: 'web', command: [], args: [], default: true }] },
    { ...empty, processes: [{ type: 'web', command: ['a\0b'], args: [], default: true }] },
    { ...empty, buildpacks: [{ id: '../../x', version: '1', layers: [] }] },
    { ...empty, buildpacks: [{ id: 'a/b', version: '1', layers: [{ ...layer, name: '../up' }] }] },
    { ...empty, buildpacks: [{ id: 'a/b', version: '1', layers: [{ ...layer, content: 'else' }] }] },
    { ...empty, buildpacks: [{ id: 'a/b', version: '1', layers: [{ ...layer, execD: ['/bin/sh'] }] }] },
    { ...empty, buildpacks: [{ id: 'a/b', version: '1', layers: [{ ...layer, profile: ['/layers/a b'] }] }] },
    {
      ...empty,
      buildpacks: [
        {
          id: 'a/b',
          version: '1',
          layers: [{ ...layer, environment: [{ name: 'A=1;B', action: 'override', value: '', delimiter: '' }] }],
        },
      ],
    },
    { ...empty, labels: [{ key: 'a b', value: '' }] },
    { ...empty, opened: [1] },
    { ...empty, buildpacks: [{ id: 'a/b', version: '1', layers: [{ ...layer, components: [{ type: 'library' }] }] }] },
  ];
  for (const value of bad) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    assert.throws(() => parseBuildResult(text), { code: 'build-failed' }, text);
  }
  assert.deepEqual(parseBuildResult(JSON.stringify(empty)), empty);
});

/** Runs the launcher with what a result makes of `/cnb/launch`. */
function launch(
  result: BuildResult,
  args: string[],
  environment: Record<string, string> = {},
  files: Record<string, string> = {},
): string {
  const directory = mkdtempSync(join(tmpdir(), 'launcher-'));
  try {
    const write = (path: string, content: string) => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content, { mode: 0o755 });
    };
    for (const [name, content] of launchFiles(result)) write(join(directory, 'launch', name), content);
    mkdirSync(join(directory, 'app'));
    for (const [name, content] of Object.entries(files)) write(join(directory, 'app', name), content);
    return execFileSync(join(import.meta.dirname, '..', 'lifecycle', 'launcher'), args, {
      env: {
        PATH: '/usr/bin:/bin',
        SAMPAN_LAUNCH_DIR: join(directory, 'launch'),
        SAMPAN_APP_DIR: join(directory, 'app'),
        ...environment,
      },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const change = (
  name: string,
  action: 'override' | 'default' | 'append' | 'prepend',
  value: string,
  delimiter = '',
  process?: string,
) => ({
  name,
  action,
  value,
  delimiter,
  ...(process === undefined ? {} : { process }),
});

const result: BuildResult = {
  ...empty,
  processes: [
    { type: 'web', command: ['printf', '%s|'], args: ["it's $HOME", '"; exit 3; "', '\n'], default: true },
    { type: 'shell', command: ['bash', '-c', 'printf "%s %s" "$A" "$ONLY"'], args: [], default: false },
    { type: 'list', command: ['env'], args: [], default: false },
  ],
  buildpacks: [
    {
      id: 'a/b',
      version: '1',
      layers: [
        {
          ...layer,
          environment: [
            change('A', 'override', "x'y"),
            change('D', 'default', 'given'),
            change('P', 'prepend', 'first', ':'),
            change('Q', 'append', 'last', ','),
            change('ONLY', 'override', 'shell only', '', 'shell'),
          ],
        },
      ],
    },
  ],
};

test('the launcher starts processes, commands and programs', () => {
  assert.equal(launch(result, []), 'it\'s $HOME|"; exit 3; "|\n|');
  assert.equal(launch(result, ['shell']), "x'y shell only");
  assert.equal(launch(result, ['echo "$D" && pwd -P | sed s,.*/,,']), 'given\napp\n');
  assert.equal(launch(result, ['--', 'printf', '%s', 'a b']), 'a b');
  const lines = launch(result, ['list'], { P: 'old', Q: 'old', D: 'mine' }).split('\n');
  for (const line of ['P=first:old', 'Q=old,last', 'D=mine']) assert.ok(lines.includes(line), line);
  const bare = launch(result, ['list']).split('\n');
  for (const line of ['P=first', 'Q=last', 'D=given']) assert.ok(bare.includes(line), line);
  assert.throws(() => launch({ ...empty }, []), /has no process of type web/);
});

test("the app's own profile is sourced", () => {
  const files = { '.profile': 'export A=profile', '.profile.d/one.sh': 'export ONLY=one' };
  assert.equal(launch(result, ['printf "%s %s" "$A" "$ONLY"'], {}, files), 'profile one');
});

test('a command is shown as one would type it', () => {
  assert.deepEqual(result.processes.map(commandLine), [
    "printf '%s|' 'it'\\''s $HOME' '\"; exit 3; \"' '\n'",
    'printf "%s %s" "$A" "$ONLY"',
    'env',
  ]);
});
