/** Runs a program to its end with an argument array, never through a shell. */
import { spawn } from 'node:child_process';

export class RunError extends Error {
  readonly exitCode: number | undefined;
  readonly stderr: string;
  readonly stdout: string;
  constructor(
    message: string,
    exitCode: number | undefined,
    stderr: string,
    { stdout = '', ...options }: ErrorOptions & { stdout?: string } = {},
  ) {
    super(message, options);
    this.name = 'RunError';
    this.exitCode = exitCode;
    this.stderr = stderr;
    this.stdout = stdout;
  }
}

export interface RunOptions {
  input?: string | Uint8Array;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** After an abort the program is killed and the call rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Exit statuses that are no error besides 0. */
  allow?: number[];
}

/** Resolves with what it wrote; rejects with a `RunError` on any other exit status, or where it cannot be executed. */
export function run(
  program: string,
  args: string[],
  options: RunOptions = {},
): Promise<{ stdout: string; stderr: string; exitCode: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ stdout: string; stderr: string; exitCode: number }>();
  if (options.signal?.aborted === true) return Promise.reject(options.signal.reason);
  const child = spawn(program, args, { env: options.env, cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  const onAbort = (): void => {
    child.kill('SIGKILL');
  };
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program that does not read its input closes it early; its exit status tells the rest.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  child.once('error', (error) =>
    reject(new RunError(`cannot run ${program}: ${error.message}`, undefined, '', { cause: error })),
  );
  child.once('close', (code, signal) => {
    options.signal?.removeEventListener('abort', onAbort);
    if (options.signal?.aborted === true) return reject(options.signal.reason);
    const text = Buffer.concat(stderr).toString();
    const out = Buffer.concat(stdout).toString();
    if (code !== 0 && (code === null || options.allow?.includes(code) !== true)) {
      const how = code === null ? `was killed by ${signal}` : `failed with exit status ${code}`;
      const message = `${program} ${args.join(' ')} ${how}: ${text.trim()}`;
      return reject(new RunError(message, code ?? undefined, text, { stdout: out }));
    }
    resolve({ stdout: out, stderr: text, exitCode: code });
  });
  return promise;
}
