/** What the image of the databases is made of. A change of anything here or in the stack's own folder makes another recipe. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostSuite } from '../../staging/stack/apt-sources.ts';
import { LEFT_OUT, PACKAGES, recipeHash } from '../../staging/stack/recipe.ts';
import { ociArchitecture } from '../../staging/images/oci.ts';
import { BrokerError } from '../postgres.ts';

/** PostgreSQL's major version in each release that there is a stack for. */
const MAJORS: Record<string, number> = { bookworm: 15, trixie: 17, noble: 16 };

/** Perl serves Debian's own tools around clusters, LLVM compiles expressions at run time: no pod needs either. */
const NOT_NEEDED = [
  'adduser',
  'init-system-helpers',
  'libjson-perl',
  'libllvm*',
  'libperl5*',
  'libz3*',
  'locales',
  'lsb-base',
  'passwd',
  'perl*',
  'postgresql-client-common',
  'postgresql-common',
  'postgresql-common-dev',
  'sensible-utils',
  'ssl-cert',
  'sysvinit-utils',
  'ucf',
];

/** Beside what no app needs either. */
export const DROPPED = [
  /^usr\/lib\/postgresql\/\d+\/lib\/(bitcode(\/|$)|llvmjit)/,
  /^usr\/share\/(postgresql-common|perl5|applications|icons|pixmaps)(\/|$)/,
  /^usr\/share\/postgresql\/\d+\/man(\/|$)/,
  /^etc\/(postgresql-common|pam\.d|security|init\.d)(\/|$)/,
];

export interface Recipe {
  suite: string;
  architecture: string;
  major: number;
  packages: readonly string[];
  leftOut: readonly string[];
  /** The image's tag. */
  hash: string;
  /** For `maintenance_info`: another image is another version; images of one major version can replace each other. */
  version: string;
}

export async function currentRecipe(): Promise<Recipe> {
  const suite = await hostSuite();
  const architecture = ociArchitecture();
  const major = MAJORS[suite];
  if (major === undefined) {
    const known = Object.keys(MAJORS).join(', ');
    throw new BrokerError(500, `There is no PostgreSQL for ${JSON.stringify(suite)} here: it is made for ${known}.`);
  }
  const hash = createHash('sha256').update(await recipeHash(suite, architecture));
  for (const name of (await readdir(import.meta.dirname)).filter((file) => !file.includes('.test.')).sort()) {
    hash.update(name).update(await readFile(join(import.meta.dirname, name)));
  }
  const tag = hash.digest('hex').slice(0, 32);
  return {
    suite,
    architecture,
    major,
    // util-linux has flock.
    packages: [...PACKAGES, 'util-linux', `postgresql-${major}`],
    leftOut: [...LEFT_OUT, ...NOT_NEEDED],
    hash: tag,
    version: `${major}.0.0+${tag.slice(0, 12)}`,
  };
}

export function majorOf(version: string): number {
  return Number.parseInt(version, 10);
}
