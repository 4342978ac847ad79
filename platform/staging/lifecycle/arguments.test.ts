import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shellWord, splitArguments } from './arguments.ts';

test('options in one variable', () => {
  const split = (line: string) => splitArguments(line, 'FLAGS');
  assert.deepEqual(split(''), []);
  assert.deepEqual(split('  -a  -b\t-c\n'), ['-a', '-b', '-c']);
  assert.deepEqual(split(`-ldflags="-s -w" '-tags=a b' -x=\\"`), ['-ldflags=-s -w', '-tags=a b', '-x="']);
  assert.deepEqual(split(`a "" b'c'd "it's" 'back\\slash'`), ['a', '', 'bcd', "it's", 'back\\slash']);
  assert.deepEqual(split('$HOME `id` *'), ['$HOME', '`id`', '*'], 'nothing is expanded');
  assert.throws(() => split(`-a "b`), /FLAGS has a " that is not closed: "-a \\"b"/);
});

test('words for a shell', () => {
  assert.equal(shellWord('/workspace/app-1.0.jar'), '/workspace/app-1.0.jar');
  assert.equal(shellWord("it's $HOME"), `'it'\\''s $HOME'`);
  assert.deepEqual(splitArguments(shellWord("it's $HOME"), 'X'), ["it's $HOME"]);
});
