/** Runs `nft` with a script on its standard input. */
import { run } from './run.ts';

/** One transaction: all of the script or nothing. */
export async function nft(script: string): Promise<string> {
  return (await run('nft', ['-f', '-'], { input: script })).stdout;
}
