/**
 * Dockerfiles as data: what the parser (`parse.ts`) makes of a text and the builder carries out.
 * Source: Docker's Dockerfile reference; where it is silent, the classic builder's behaviour.
 *
 * The parser reads and judges; it looks up nothing and expands nothing. Words keep their quotes and variables, as the values of
 * variables are known only when an instruction is carried out (`expand.ts`).
 */

/** What is wrong with a Dockerfile, or a build that cannot be done as it is written. Told to the client as it is. */
export class BuildError extends Error {
  /** Of a command that failed: its exit status. */
  readonly exitCode: number | undefined;
  constructor(message: string, options: ErrorOptions & { exitCode?: number } = {}) {
    super(message, options);
    this.name = 'BuildError';
    this.exitCode = options.exitCode;
  }
}

export interface Heredoc {
  /** The word that ends it, which `COPY` takes for a file name. */
  name: string;
  /** Whether variables in it are replaced: its word was not quoted. */
  isExpanded: boolean;
  /** `<<-`: leading tabs of each line were dropped. */
  isTrimmed: boolean;
  content: string;
}

/** One instruction's text: continuation lines joined, comments gone. */
export interface LogicalLine {
  /** Of its first line, from 1. */
  line: number;
  /** Without leading and trailing space. */
  text: string;
  heredocs: Heredoc[];
}

/** A command line: words for the kernel, or text for the shell. */
export type CommandLine = { form: 'exec'; words: string[] } | { form: 'shell'; text: string };

/** A value that is not given is taken from the build's arguments. */
export interface Argument {
  name: string;
  value?: string;
}

export type Instruction = { line: number; text: string } & (
  | { kind: 'ARG'; args: Argument[] }
  | { kind: 'ENV' | 'LABEL'; pairs: [name: string, value: string][] }
  | { kind: 'RUN'; command: CommandLine; heredocs: Heredoc[] }
  | {
      kind: 'COPY' | 'ADD';
      from?: string;
      owner?: string;
      mode?: string;
      sources: string[];
      heredocs: Heredoc[];
      destination: string;
    }
  | { kind: 'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER'; value: string }
  | { kind: 'EXPOSE' | 'VOLUME'; values: string[] }
  | { kind: 'CMD' | 'ENTRYPOINT'; command: CommandLine }
  | { kind: 'SHELL'; words: string[] }
  | { kind: 'HEALTHCHECK'; check: 'NONE' | HealthCheck }
  | { kind: 'ONBUILD'; trigger: string }
);

/** Durations in nanoseconds, as Docker's configuration has them; absent: Docker's default. */
export interface HealthCheck {
  command: CommandLine;
  interval?: number;
  timeout?: number;
  startPeriod?: number;
  startInterval?: number;
  retries?: number;
}

export interface Stage {
  line: number;
  text: string;
  /** An image or an earlier stage, with its variables. */
  base: string;
  platform?: string;
  /** Lower case; absent where it has only its number. */
  name?: string;
  instructions: Instruction[];
}

export interface Dockerfile {
  /** `ARG`s ahead of the first `FROM`: for the `FROM`s only. */
  globals: Extract<Instruction, { kind: 'ARG' }>[];
  stages: Stage[];
  /** What escapes: a backslash, or a backtick by directive. */
  escape: string;
}
