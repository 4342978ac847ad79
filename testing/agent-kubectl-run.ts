/** kubectl as a child process, against the API server of an agent's fixture. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

export interface KubectlRun {
  code: number | null;
  stdout: string;
  stderr: string;
}

export function startKubectl(
  kubeconfig: string,
  args: readonly string[],
  program = 'kubectl',
): ChildProcessWithoutNullStreams {
  return spawn(program, args, { env: { ...process.env, KUBECONFIG: kubeconfig } });
}

/** To its end, with what it is given on its standard input. */
export async function runKubectl(
  kubeconfig: string,
  args: readonly string[],
  { input = '', program }: { input?: string; program?: string } = {},
): Promise<KubectlRun> {
  const child = startKubectl(kubeconfig, args, program);
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  clearTimeout(timer);
  return { code: child.exitCode, stdout, stderr };
}
