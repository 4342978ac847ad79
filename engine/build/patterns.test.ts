import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DockerIgnore, Pattern } from './patterns.ts';

test("patterns of COPY are Go's", () => {
  const cases: [string, string, boolean][] = [
    ['*.txt', 'a.txt', true],
    ['*.txt', 'd/a.txt', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['[^a-c]x', 'dx', true],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['a[\\]]', 'a]', true],
    ['**', 'a/b', false],
    ['*ö?', 'xöy', true],
    [`${'*a'.repeat(50)}b`, 'a'.repeat(1000), false],
  ];
  for (const [pattern, path, expected] of cases)
    assert.equal(new Pattern(pattern).matches(path), expected, `${pattern} ${path}`);
  for (const bad of ['[', '[a', '[]', '[a-]', '[b-a]', 'a\\'])
    assert.throws(() => new Pattern(bad), /syntax error in pattern/, bad);
});

test('.dockerignore: directories, exceptions, double stars', () => {
  const rules = new DockerIgnore(
    '\ufeff# comment\n\n*/temp*\n/logs/\n**/*.pyc\n!keep.pyc\nnode_modules\n!node_modules/kept\na/**/z\ndocs\n!docs/*.md\ndocs/secret.md\n./dot\nx/../y\n',
  );
  const cases: [string, boolean][] = [
    ['d/temporary/file', true],
    ['temporary', false],
    ['logs/a', true],
    ['a.pyc', true],
    ['deep/er/b.pyc', true],
    ['keep.pyc', false],
    ['node_modules/left', true],
    ['node_modules/kept/index', false],
    ['a/z', true],
    ['a/b/c/z', true],
    ['docs/readme.md', false],
    ['docs/readme.txt', true],
    ['docs/secret.md', true],
    ['dot', true],
    ['y', true],
    ['other', false],
  ];
  for (const [path, expected] of cases) assert.equal(rules.excludes(path), expected, path);
  assert.throws(() => new DockerIgnore('!'), /illegal exclusion pattern/);
  assert.throws(() => new DockerIgnore('[a'), /syntax error/);
});
