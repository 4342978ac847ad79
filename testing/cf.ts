/** The stock `cf` client, where it is on the PATH, against a test platform. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Finished, finish, type TestPlatform } from './platform.ts';

/** Undefined where there is none. */
export function findCf(): string | undefined {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, 'cf');
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // look further
    }
  }
  return undefined;
}

/** Words before those of a program that finds the platform's names, and of these apps, in a hosts file of its own: the machine's is not ours to change. */
export function hostsShell({ instance }: TestPlatform, file: string, apps: string[] = []): string[] {
  const names = ['api', 'uaa', 'login', 'log-cache', 'ssh', ...apps].map((name) => `${name}.${instance.domain}`);
  writeFileSync(file, `127.0.0.1 localhost ${names.join(' ')}\n`);
  const script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
  // What the host unmounts meanwhile is not held by it.
  return ['unshare', '--mount', '--propagation', 'slave', 'sh', '-ec', script, 'sh', file];
}

/** One user's cf: a home of its own. */
export class Cf {
  readonly #platform: TestPlatform;
  readonly #program: string;
  readonly #home: string;
  readonly #hosts: string;

  constructor(platform: TestPlatform, program: string, user: string) {
    this.#platform = platform;
    this.#program = program;
    this.#home = join(platform.directory, `cf-${user}`);
    this.#hosts = join(this.#home, 'hosts');
    mkdirSync(this.#home, { recursive: true });
  }

  /** Never rejects for an exit status. */
  run(words: string[], options: { cwd?: string; environment?: Record<string, string> } = {}): Promise<Finished> {
    const { environment, ...others } = options;
    const [program = '', ...before] = hostsShell(this.#platform, this.#hosts);
    return finish(program, [...before, this.#program, ...words], {
      env: { ...this.#environment, ...environment },
      input: '',
      // A push of a busy machine, with its build; cf itself gives up before.
      timeout: 1_800_000,
      ...others,
    });
  }

  /** At a terminal: says each reply when what it is to follow was printed. Resolves with all of that. */
  async converse(command: string, replies: [after: RegExp, reply: string][]): Promise<Finished> {
    const [program = '', ...before] = hostsShell(this.#platform, this.#hosts);
    // A terminal without a size has one column.
    const terminal = `stty cols 80 rows 24; ${this.#program} ${command}`;
    const words = [...before, 'script', '-qfec', terminal, '/dev/null'];
    const child = spawn(program, words, {
      env: this.#environment,
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: 300_000,
    });
    const left = [...replies];
    let stdout = '';
    let heard = 0;
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      stdout += part;
      const [next] = left;
      const found = next?.[0].exec(stdout.slice(heard));
      if (!next || !found) return;
      heard += found.index + found[0].length;
      left.shift();
      child.stdin.write(`${next[1]}\r`);
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code: code ?? 1, stdout, stderr: '' };
  }

  /** Runs until it is disposed of, or ends by itself. */
  start(...words: string[]): AsyncDisposable {
    const [program = '', ...before] = hostsShell(this.#platform, this.#hosts);
    const child = spawn(program, [...before, this.#program, ...words], { env: this.#environment, stdio: 'inherit' });
    const ended = new Promise<void>((done) => {
      for (const event of ['error', 'close']) child.once(event, () => done());
    });
    return {
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL');
        await ended;
      },
    };
  }

  get #environment(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], CF_HOME: this.#home, CF_COLOR: 'false', LANG: 'C.UTF-8' };
  }

  /** As `run`, and an error with all that was printed when it fails. */
  async must(...words: string[]): Promise<string> {
    const result = await this.run(words);
    if (result.code === 0) return result.stdout;
    throw new Error(
      `cf ${words.join(' ')} ended with ${result.code}\n${result.stdout}\n${result.stderr}\n${this.#platform.logTail()}`,
    );
  }

  /** What it prints where it must not work. */
  async refused(...words: string[]): Promise<string> {
    const result = await this.run(words);
    if (result.code !== 0) return `${result.stdout}${result.stderr}`;
    throw new Error(`cf ${words.join(' ')} was to fail\n${result.stdout}`);
  }

  /** @param options  of `cf auth` */
  async login(user: string, password: string, ...options: string[]): Promise<void> {
    const { domain, ports } = this.#platform.instance;
    await this.must('api', `https://api.${domain}:${ports.https}`, '--skip-ssl-validation');
    await this.must('auth', user, password, ...options);
  }
}
