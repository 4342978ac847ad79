/** Which paths of the host may be mounted: what lies below the directories that the engine was told of, and nothing by way of a link. */
import { mkdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { DockerError } from './errors.ts';

/**
 * @param make  makes a directory there where nothing is, as Docker does for `-v`
 * @returns the path without links. @throws DockerError 403 where it is not below an allowed directory, 400 where it is not there
 */
export async function allowedSource(source: string, allowed: readonly string[], make = false): Promise<string> {
  if (allowed.length === 0) {
    throw new DockerError(
      403,
      `bind mount of ${source} refused: directories of the host are not mounted; use a volume, or start the engine with --allow-bind DIRECTORY`,
    );
  }
  const path = normalize(source);
  const real = await realpath(path).catch(() => undefined);
  if (real !== undefined) {
    await requireAllowed(source, real, allowed);
    return real;
  }
  if (!make)
    throw new DockerError(400, `invalid mount config for type "bind": bind source path does not exist: ${source}`);
  const { parent, missing } = await nearestParent(path);
  await requireAllowed(source, join(parent, missing), allowed);
  await mkdir(join(parent, missing), { recursive: true, mode: 0o755 });
  // Somebody may have put a link into the way meanwhile.
  const made = await realpath(path);
  await requireAllowed(source, made, allowed);
  return made;
}

async function requireAllowed(source: string, real: string, allowed: readonly string[]): Promise<void> {
  for (const directory of allowed) {
    const root = await realpath(directory).catch(() => directory);
    if (real === root || real.startsWith(root === '/' ? '/' : `${root}/`)) return;
  }
  throw new DockerError(
    403,
    `bind mount of ${source} refused: it is not below ${allowed.join(', ')}; start the engine with --allow-bind for another directory`,
  );
}

/** The deepest directory above that is there, without links, and the rest of the path. */
async function nearestParent(path: string): Promise<{ parent: string; missing: string }> {
  let missing = basename(path);
  for (let directory = dirname(path); ; directory = dirname(directory)) {
    const parent = await realpath(directory).catch(() => undefined);
    if (parent !== undefined) return { parent, missing };
    missing = join(basename(directory), missing);
  }
}
