/**
 * What the base stack is made of. A change of anything here, or of the code in this folder, makes another recipe hash,
 * and so another stack.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Names that `cf stacks` and the CNB contract (`CNB_STACK_ID`) show. */
export const STACK_NAME = 'sampan';
export const STACK_ID = 'dev.sampan.stacks.base';

/** Enough to run what the buildpacks bring, to look around in a shell, and to speak TLS. apt adds what these depend on. */
export const PACKAGES = [
  'base-files',
  'base-passwd',
  'bash',
  'busybox',
  'ca-certificates',
  'coreutils',
  'dash',
  'findutils',
  'grep',
  'gzip',
  'libatomic1',
  'libc-bin',
  'libc6',
  'libcrypt1',
  'libstdc++6',
  'mawk',
  'netbase',
  'openssl',
  'sed',
  'tar',
  'tzdata',
  'zlib1g',
] as const;

/** Comes as a dependency, but serves only to install packages, which a container never does. */
export const LEFT_OUT = ['debconf', 'dpkg', 'libdebconfclient0', 'perl-base'] as const;

/** Not part of the stack: taken apart into the web server that the staticfile buildpack starts. */
export const WEB_SERVER_PACKAGES = ['nginx', 'nginx-common'] as const;

/**
 * Packages whose presence in the release says which runtimes can be had (`runtimes/catalogue.ts`), as an extended regular
 * expression.
 */
export const OFFERED =
  '^(python3[.][0-9]+|openjdk-[0-9]+-jre-headless|tomcat[0-9]+|ruby[0-9]+[.][0-9]+|php[0-9]+[.][0-9]+-fpm|gcc)$';

/** Directories that a running app has no use for. Copyright files stay, as the licences want it. */
export const DROPPED = [
  /^dev\/./,
  /^etc\/(apt|dpkg|kernel|logrotate\.d|cron\.\w+|default|init\.d|alternatives)(\/|$)/,
  /^usr\/share\/(man|info|locale|lintian|bash-completion|debconf|menu|bug|dpkg|perl5|polkit-1|debianutils|pixmaps|doc-base)(\/|$)/,
  /^usr\/share\/doc\/[^/]+\/(?!copyright$)/,
  /^usr\/share\/zoneinfo\/(posix|right)(\/|$)/,
  /^usr\/lib\/(dpkg|systemd)(\/|$)/,
  /^usr\/lib\/[^/]+\/gconv\/(?!(gconv-modules|ISO8859-1|ISO8859-15|UTF-16|UTF-32|UTF-7|CP1252)(\.|$))/,
  /^usr\/(share|lib)\/.*perl/,
  /^var\/(cache|lib\/(apt|dpkg|pam)|log|backups)\/./,
  /^etc\/(machine-id|resolv\.conf|hostname|hosts|passwd-|group-|shadow-)$/,
  /^(run|proc|sys|tmp|boot)\/./,
  /^\.sampan(\/|$)/,
];

/** Identifies a stack before it is made: sources, packages and the code that treats them. */
export async function recipeHash(suite: string, architecture: string): Promise<string> {
  const hash = createHash('sha256');
  const names = (await readdir(import.meta.dirname)).filter((name) => !name.includes('.test.')).sort();
  for (const name of names) hash.update(name).update(await readFile(join(import.meta.dirname, name)));
  hash.update(JSON.stringify([suite, architecture]));
  return hash.digest('hex').slice(0, 32);
}
