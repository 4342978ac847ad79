import { spawn } from 'node:child_process';

/** Runs every test; the exit status is the runner's. */
export function test(words: string[]): Promise<void> {
  return runScript('../../testing/run.ts', words);
}

export function check(): Promise<void> {
  return runScript('../../tools/check.ts', []);
}

export function bench(names: string[]): Promise<void> {
  return runScript('../../bench/run.ts', names);
}

async function runScript(path: string, words: string[]): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, new URL(path, import.meta.url).pathname, ...words], {
    stdio: 'inherit',
  });
  process.exitCode = await new Promise<number>((done) => child.once('close', (code) => done(code ?? 1)));
}
