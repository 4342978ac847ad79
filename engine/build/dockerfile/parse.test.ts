import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { expandText, expandWord, expandWords } from './expand.ts';
import { BuildError } from './instruction.ts';
import { parseDockerfile, parseSingle } from './parse.ts';

const only = (text: string) => parseDockerfile(`FROM scratch\n${text}`).stages[0]?.instructions ?? [];
const fails = (text: string, expected: RegExp): void =>
  assert.throws(
    () => parseDockerfile(text),
    (error) => error instanceof BuildError && expected.test(error.message),
    text,
  );

describe('lines', () => {
  test('comments, blank lines and continuations, with the line that an instruction begins on', () => {
    const file = '\ufeff# comment\r\n\r\nFROM a # not a comment? a word\r\n'.replace(' # not a comment? a word', '');
    const { stages } = parseDockerfile(`${file}RUN one \\\n  # between\n\n  two\\  \n  three\n\n  LABEL a=b\n`);
    assert.deepEqual(
      stages[0]?.instructions.map(({ line, text }) => [line, text]),
      [
        [4, 'RUN one   two  three'],
        [10, 'LABEL a=b'],
      ],
    );
    assert.equal(stages[0]?.line, 3);
  });

  test('the escape directive, only at the top', () => {
    const { escape, stages } = parseDockerfile('# syntax=x\n#escape=`\nFROM a\nRUN one `\n two\\\nRUN three\n');
    assert.equal(escape, '`');
    assert.deepEqual(
      stages[0]?.instructions.map(({ text }) => text),
      ['RUN one  two\\', 'RUN three'],
    );
    assert.equal(parseDockerfile('# a comment\n# escape=`\nFROM a\n').escape, '\\');
    fails('# escape=x\nFROM a\n', /line 1: invalid ESCAPE 'x'/);
    fails('# escape=`\n# escape=`\nFROM a\n', /line 2: only one escape/);
  });

  test('heredocs', () => {
    const [run, copy, plain] = only(
      'RUN 3<<A cat <<-"B C"x <<-D\na\nA\n\td\n\tD\nCOPY <<x.y /\n# kept\nx.y\nRUN echo $((1<<2)) <<<x\n',
    );
    assert.equal(
      run?.kind === 'RUN' && run.heredocs.map(({ name, content }) => `${name}:${content}`).join(),
      'A:a\n,D:d\n',
    );
    assert.equal(copy?.kind === 'COPY' && copy.heredocs[0]?.content, '# kept\n');
    assert.deepEqual(plain?.kind === 'RUN' && plain.heredocs, []);
    fails('FROM a\nRUN <<A\n', /line 2: unterminated heredoc/);
  });
});

test('instructions in both forms', () => {
  assert.deepEqual(only('CMD ["a", "b c"]')[0], {
    kind: 'CMD',
    line: 2,
    text: 'CMD ["a", "b c"]',
    command: { form: 'exec', words: ['a', 'b c'] },
  });
  const command = (text: string): unknown => {
    const [found] = only(text);
    return found?.kind === 'CMD' || found?.kind === 'RUN' ? found.command : undefined;
  };
  // What is no list of strings is text for the shell.
  assert.deepEqual(command("CMD ['a']"), { form: 'shell', text: "['a']" });
  assert.deepEqual(command('RUN ["a", 1]'), { form: 'shell', text: '["a", 1]' });
  assert.deepEqual(command('CMD'), { form: 'shell', text: '' });
  const [copy] = only('copy --chown=a:b --chmod="755" --link ["a b", "c d/"]');
  assert.ok(copy?.kind === 'COPY');
  assert.deepEqual([copy.owner, copy.mode, copy.sources, copy.destination], ['a:b', '755', ['a b'], 'c d/']);
  const [check] = only('HEALTHCHECK --interval=1h2m3.5s --start-period=0 NONE');
  assert.deepEqual(check?.kind === 'HEALTHCHECK' && check.check, 'NONE');
  assert.deepEqual(parseSingle('ENV a b c'), { kind: 'ENV', line: 1, text: 'ENV a b c', pairs: [['a', 'b c']] });
  const stages = parseDockerfile('ARG v=1\nFROM --platform=linux/amd64 a:$v AS Name\nFROM name').stages;
  assert.deepEqual(
    stages.map(({ base, name, platform }) => [base, name, platform]),
    [
      ['a:$v', 'name', 'linux/amd64'],
      ['name', undefined, undefined],
    ],
  );
});

test('mistakes', () => {
  for (const [text, expected] of [
    ['', /cannot be empty/],
    ['# only\n', /cannot be empty/],
    ['ENV a=b\nFROM a\n', /line 1: no build stage in current context/],
    ['FROM a AS\n', /either one argument, or three/],
    ['FROM a AS 1x\n', /invalid name for build stage/],
    ['FROM a\nENV a\n', /ENV must have two arguments/],
    ['FROM a\nENV a=b c\n', /ENV must have two arguments/],
    ['FROM a\nLABEL =x\n', /names can not be blank/],
    ['FROM a\nSHELL /bin/sh\n', /requires the arguments to be in JSON form/],
    ['FROM a\nONBUILD ONBUILD RUN x\n', /Chaining ONBUILD/],
    ['FROM a\nONBUILD FROM x\n', /FROM isn't allowed as an ONBUILD trigger/],
    ['FROM a\nONBUILD FOO x\n', /unknown instruction: FOO/],
    ['FROM a\nHEALTHCHECK --interval=1x CMD a\n', /invalid duration "1x"/],
    ['FROM a\nHEALTHCHECK --retries=-1 CMD a\n', /--retries must be at least 0/],
    ['FROM a\nHEALTHCHECK FOO\n', /unknown type "FOO"/],
    ['FROM a\nWORKDIR\n', /WORKDIR requires exactly one argument/],
    ['FROM a\nRUN --security=insecure x\n', /requires BuildKit/],
    ['FROM a\nCOPY --from=a --from=b x y\n', /duplicate flag/],
    ['FROM a\n__proto__ x\n', /unknown instruction: __PROTO__/],
    ['FROM a\nconstructor x\n', /unknown instruction: CONSTRUCTOR/],
  ] as [string, RegExp][])
    fails(text, expected);
});

test('variables', () => {
  const variables = new Map([
    ['a', 'A'],
    ['empty', ''],
    ['ports', '80 81'],
    ['quoted', '"x"'],
  ]);
  const cases: [string, string][] = [
    ['$a${a}x', 'AAx'],
    ['$none-$empty', '-'],
    ['${none:-d}${empty:-d}${none-d}${empty-d}', 'ddd'],
    ['${a:+y}${empty:+y}${empty+y}${none+y}', 'yy'],
    ['${none:-${a}-"${empty:-e f}"}', 'A-e f'],
    ['"$a b" \'$a\' \\$a', 'A b $a $a'],
    ['"\\"$a\\x\\\\"', '"A\\x\\'],
    ['$quoted', '"x"'],
    ['$', '$'],
    ['a\\', 'a\\'],
    ['${a:?never}', 'A'],
  ];
  for (const [word, expected] of cases) assert.equal(expandWord(word, variables, '\\'), expected, word);
  for (const [word, expected] of [
    ['${a', /missing }/],
    ['${}', /bad substitution/],
    ['${a#x}', /unsupported modifier \(#\)/],
    ['${none:?is wanted}', /none: is wanted/],
    ['"$a', /matching double-quote/],
    ["'a", /matching single-quote/],
    ['${none:-'.repeat(200), /nested too deep/],
  ] as [string, RegExp][])
    assert.throws(() => expandWord(word, variables, '\\'), expected, word);
  assert.deepEqual(expandWords('$ports 90', variables, '\\'), ['80', '81', '90']);
  assert.deepEqual(expandWords('"$ports"', variables, '\\'), ['80 81']);
  assert.equal(expandText('"$a" \\$a \'${a}\' \\n', variables), '"A" $a \'A\' \\n');
});
