/** The command lines that run in containers. Words of clients are arguments of theirs, never part of a script. */
import type { SshTarget } from './ssh.ts';

/** The best shell there is. */
const SHELL = 'command -v bash >/dev/null 2>&1 && exec bash; exec sh';

/** @param command  for the shell; absent: an interactive one */
export function shellCommand(
  target: Pick<SshTarget, 'launcher'>,
  options: { command?: string; terminal?: string },
): string[] {
  const words = ['/bin/sh', '-c', options.command ?? SHELL];
  const launched = target.launcher ? ['/cnb/launcher', '--', ...words] : words;
  if (options.terminal === undefined) return launched;
  return ['/bin/sh', '-c', 'TERM=$0; export TERM; exec "$@"', options.terminal, ...launched];
}

/** What the relay says on its standard error when it is connected. */
export const CONNECTED = 'connected\n';

/** Each end of the connection ends the other; what it starts ends with it, where that can be said. */
const BASH_RELAY = `
exec 3<>"/dev/tcp/$0/$1" 4<&0 || exit 1
with=
if command -v setpriv >/dev/null 2>&1; then with='setpriv --pdeathsig KILL'; fi
echo connected >&2
$with cat <&3 &
$with cat <&4 >&3 &
wait -n
kill $(jobs -p) 2>/dev/null
`;

const RELAY = `
if command -v bash >/dev/null 2>&1; then exec bash -c "$0" "$@"; fi
if command -v nc >/dev/null 2>&1; then echo connected >&2; exec nc "$@"; fi
echo "neither bash nor nc is in the app's image" >&2
exit 127
`;

export function relayCommand(host: string, port: number): string[] {
  return ['/bin/sh', '-c', RELAY, BASH_RELAY, host, String(port)];
}
