/**
 * `--change` of commit and import: those of Dockerfile's instructions that change an image's configuration and nothing
 * else, read by the parser of Dockerfiles.
 */
import { type Config, configure } from '../build/config.ts';
import { BuildError } from '../build/dockerfile/instruction.ts';
import { parseSingle } from '../build/dockerfile/parse.ts';

const ALLOWED = [
  'CMD',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'HEALTHCHECK',
  'LABEL',
  'ONBUILD',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
];

/** One instruction a line. @throws BuildError on any other */
export function applyChanges(config: Config, changes: readonly string[]): void {
  for (const text of changes.flatMap((change) => change.split('\n'))) {
    if (text.trim() === '') continue;
    const instruction = parseSingle(text);
    if (!ALLOWED.includes(instruction.kind)) throw new BuildError(`${instruction.kind} is not a valid change command`);
    configure(config, instruction, { variables: config.env, escape: '\\' });
  }
}
