/**
 * Programs that start others and mount things, in namespaces of processes and of mounts: nobody outside sees what they mount. When
 * the program ends, or whoever started it does, by a kill too, the kernel ends all that it has started and takes the mounts away.
 */

/** What is to be executed (util-linux) instead of the program; its exit status is the program's. Needs root. */
export function enclosed(program: string, words: readonly string[]): [string, string[]] {
  const flags = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--'];
  return ['setpriv', ['--pdeathsig', 'KILL', 'unshare', ...flags, program, ...words]];
}
