/** The build room's parsers of untrusted text, as the fuzz tests run them. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { fuzz, type FuzzReport, readCorpus } from '#testing/fuzz.ts';
import { configure, readConfig, writeConfig } from './config.ts';
import { BuildError } from './dockerfile/instruction.ts';
import { parseDockerfile } from './dockerfile/parse.ts';
import { DockerIgnore } from './patterns.ts';

const refuses = (error: unknown): boolean => error instanceof BuildError;
const variables = new Map([
  ['a', 'b c'],
  ['V', '1'],
  ['P', '80 81'],
]);
const PATHS = ['a', 'a/b/z', 'keep.pyc', 'd/temp1/x', 'node_modules/x', 'ö/*?'];

const corpus = (name: string) => readCorpus(fileURLToPath(new URL(`testdata/${name}`, import.meta.url)));

const DOCKERFILE_WORDS: readonly string[] = [
  ...['FROM ', 'RUN ', 'COPY ', 'ADD ', 'ENV ', 'ARG ', 'ONBUILD ', 'HEALTHCHECK ', 'LABEL ', 'SHELL ', 'CMD ', ' AS '],
  ...['<<EOF', '<<-EOF', 'EOF\n', '\n', '\\\n', '`\n', '# escape=`\n', '["', '"]', '--from=', '--chown=', '--mount='],
  ...['${', '}', ':-', ':+', ':?', '$', "'", '"', '\t', '\r\n', '\ufeff', '\u00a0'],
];

const IGNORE_WORDS: readonly string[] = [
  '**',
  '/**/',
  '*',
  '?',
  '[',
  ']',
  '[^',
  '-',
  '\\',
  '!',
  '/',
  '../',
  '#',
  '\n',
  '\r',
  '\ufeff',
];

/** Parsed, and carried out as far as that needs no engine. */
export async function fuzzDockerfiles(inputs: number): Promise<FuzzReport> {
  return await fuzz({
    name: 'dockerfile',
    corpus: corpus('dockerfiles'),
    dictionary: DOCKERFILE_WORDS,
    inputs,
    largestInput: 4096,
    refuses,
    run: (input) => {
      const { stages, globals, escape } = parseDockerfile(input.toString('utf8'));
      const lines = input.toString('utf8').split('\n').length;
      const kinds = stages.flatMap(({ instructions }) => {
        const config = readConfig({});
        return instructions.map((instruction) => {
          assert.ok(instruction.line >= 1 && instruction.line <= lines, `line ${instruction.line} of ${lines}`);
          configure(config, instruction, { variables, escape });
          assert.deepEqual(writeConfig(readConfig(writeConfig(config))), writeConfig(config));
          return instruction.kind;
        });
      });
      return `${globals.length} ${kinds.join(' ')}`;
    },
  });
}

export async function fuzzIgnores(inputs: number): Promise<FuzzReport> {
  return await fuzz({
    name: 'dockerignore',
    corpus: corpus('dockerignores'),
    dictionary: IGNORE_WORDS,
    inputs,
    largestInput: 512,
    refuses,
    run: (input) => {
      const rules = new DockerIgnore(input.toString('utf8'));
      return PATHS.map((path) => Number(rules.excludes(path))).join('');
    },
  });
}
