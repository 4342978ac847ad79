/** Debian's own clients of ssh, against our proxy: `sftp` and `scp` as somebody who knows a one-time code. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, finish } from './platform.ts';

interface Door {
  port: number;
  /** `cf:GUID/INDEX` */
  user: string;
  /** Good for one login. */
  code: string;
  /** For the client's own files. */
  directory: string;
}

function run(program: string, words: string[], { port, user, code, directory }: Door, input = ''): Promise<Finished> {
  mkdirSync(directory, { recursive: true });
  const askpass = join(directory, 'askpass');
  writeFileSync(askpass, `#!/bin/sh\necho '${code}'\n`, { mode: 0o700 });
  const settings = [
    'BatchMode=no',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'PreferredAuthentications=password',
    'NumberOfPasswordPrompts=1',
    'LogLevel=ERROR',
    `User=${user}`,
  ].flatMap((setting) => ['-o', setting]);
  return finish(program, ['-F', 'none', '-P', String(port), ...settings, ...words], {
    env: {
      PATH: process.env['PATH'],
      HOME: directory,
      SSH_ASKPASS: askpass,
      SSH_ASKPASS_REQUIRE: 'force',
      LC_ALL: 'C',
    },
    input,
    timeout: 120_000,
  });
}

/** Ends at the first line that fails, unless it begins with `-`. */
export function sftp(batch: string[], door: Door): Promise<Finished> {
  return run('sftp', ['-b', '-', '127.0.0.1'], door, `${batch.join('\n')}\n`);
}

/** Names of the other end are `:name`. */
export function scp(words: string[], door: Door): Promise<Finished> {
  return run(
    'scp',
    words.map((word) => (word.startsWith(':') ? `127.0.0.1${word}` : word)),
    door,
  );
}
