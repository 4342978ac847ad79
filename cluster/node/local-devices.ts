/**
 * Block devices of this host that are PersistentVolumes with a file system (`local`, `volumeMode: Filesystem`): given one where they have
 * none (`fsType`, ext4 where absent), checked, and mounted once for all pods of the node.
 *
 * Below the agent's directory, where a kubelet has it too:
 *   plugins/kubernetes.io/local-volume/mounts/<volume>        where it is mounted
 *   plugins/kubernetes.io/local-volume/users/<volume>/<uid>   a pod that has it: made before it is mounted, removed before it is unmounted
 *
 * Nothing that a device holds is ever overwritten, whether it can be mounted or not: a file system of another type, a table of partitions.
 */
import { mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run, RunError } from '#lib/run.ts';
import { TurnsByKey } from '#lib/turns.ts';
import type { Stored } from '../kinds/kind.ts';
import type { PersistentVolume } from '../kinds/types/core.ts';
import { AgentError, hasErrorCode, messageOf } from './errors.ts';

const DEFAULT_TYPE = 'ext4';
/** Without asking, though the device is no partition; of ext, nothing kept for root. */
const FORMAT_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  ext2: ['-F', '-m0'],
  ext3: ['-F', '-m0'],
  ext4: ['-F', '-m0'],
  xfs: ['-f'],
};
/** blkid(8): nothing was found. */
const NOTHING_FOUND = 2;
/** fsck(8), of its exit status: errors were mended, errors are left. */
const MENDED = 1;
const ERRORS_LEFT = 4;

export class LocalDevices {
  readonly #mounts: string;
  readonly #users: string;
  /** By the volume's name. */
  readonly #turns = new TurnsByKey();

  constructor(dataDirectory: string) {
    const root = join(dataDirectory, 'plugins/kubernetes.io/local-volume');
    this.#mounts = join(root, 'mounts');
    this.#users = join(root, 'users');
  }

  /** For a pod; idempotent. @returns its directory. Rejects with `FailedMount` */
  async mount({ metadata: { name }, spec }: Stored<PersistentVolume>, device: string, podUid: string): Promise<string> {
    return await this.#turns.take(name, async () => {
      const place = join(this.#mounts, name);
      for (const path of [this.#user(name, podUid), place]) await mkdir(path, { recursive: true, mode: 0o750 });
      if (!(await isMounted(place)))
        await mountDevice(device, place, { type: spec?.local?.fsType, options: spec?.mountOptions ?? [] });
      return place;
    });
  }

  /** The pod has none of them any more. Rejects as long as one that was the last pod's cannot be unmounted. */
  async release(podUid: string): Promise<void> {
    for (const name of await namesIn(this.#users))
      await this.#turns.take(name, async () => {
        await removeDirectory(this.#user(name, podUid));
        await this.#unmountUnused(name);
      });
  }

  /** What pods left that are gone. @param podUids  those that are not */
  async removeStrays(podUids: Iterable<string>): Promise<void> {
    const kept = new Set([...podUids].map(fileName));
    for (const name of await namesIn(this.#users))
      await this.#turns.take(name, async () => {
        for (const uid of await namesIn(join(this.#users, name)))
          if (!kept.has(uid)) await removeDirectory(join(this.#users, name, uid));
        await this.#unmountUnused(name);
      });
  }

  async #unmountUnused(name: string): Promise<void> {
    const users = join(this.#users, name);
    if ((await namesIn(users)).length > 0) return;
    const place = join(this.#mounts, name);
    if (await isMounted(place)) await runSystem('umount', [place]);
    // In this order: as long as it may be mounted, it is among those that are looked at.
    for (const path of [place, users]) await removeDirectory(path);
  }

  #user(name: string, podUid: string): string {
    return join(this.#users, name, fileName(podUid));
  }
}

function fileName(podUid: string): string {
  return podUid.replaceAll(/[^\w-]/g, '_');
}

interface Wish {
  type: string | undefined;
  options: readonly string[];
}

async function mountDevice(device: string, place: string, { type: wanted, options }: Wish): Promise<void> {
  if (wanted && !/^[a-z\d]+$/.test(wanted))
    throw new AgentError('FailedMount', `fsType: ${JSON.stringify(wanted)} is no type of a file system`);
  try {
    const found = await typeOf(device);
    if (found !== undefined && wanted && found !== wanted)
      throw new Error(`it holds ${found}, and fsType is ${wanted}: empty the device, or leave fsType out`);
    const type = found ?? (wanted || DEFAULT_TYPE);
    if (found === undefined) await runSystem(`mkfs.${type}`, [...(FORMAT_OPTIONS[type] ?? []), device]);
    else await check(device);
    // A container's root may leave programs here that would run as the host's: the last word is the administrator's.
    await runSystem('mount', ['-t', driverOf(type), '-o', ['nosuid', 'nodev', ...options].join(), device, place]);
  } catch (error) {
    throw new AgentError('FailedMount', `failed to mount device ${device}: ${messageOf(error)}`, { cause: error });
  }
}

/** Under its older names that of ext4 has no id-mapped mounts, which pods need. */
function driverOf(type: string): string {
  return type === 'ext2' || type === 'ext3' ? 'ext4' : type;
}

/** Of the file system that the device holds; undefined where it holds nothing. Rejects where it holds something else. */
async function typeOf(device: string): Promise<string | undefined> {
  const words = ['--probe', '--match-tag', 'TYPE', '--match-tag', 'PTTYPE', '--output', 'export', device];
  const { stdout, exitCode } = await runSystem('blkid', words, [NOTHING_FOUND]);
  if (exitCode === NOTHING_FOUND) return undefined;
  const found = new Map(stdout.split('\n').map((line) => line.split('=') as [string, string]));
  const type = found.get('TYPE');
  if (type === undefined)
    throw new Error(`it holds a table of partitions (${found.get('PTTYPE') ?? 'of no known type'})`);
  return type;
}

/** Small damage is mended. */
async function check(device: string): Promise<void> {
  try {
    await runSystem('fsck', ['-a', device], [MENDED]);
  } catch (error) {
    // What else it says is of itself, as that it knows no such type, or that the device is mounted elsewhere: the mount decides.
    if (!(error instanceof RunError) || ((error.exitCode ?? 0) & ERRORS_LEFT) === 0) return;
    throw new Error(`'fsck' found errors on device ${device} but could not correct them: ${error.stdout.trim()}`, {
      cause: error,
    });
  }
}

async function runSystem(
  program: string,
  args: readonly string[],
  allow: number[] = [],
): Promise<{ stdout: string; exitCode: number }> {
  // mkfs and fsck look for what they run themselves.
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
  return await run(program, [...args], { env, allow });
}

/** A file system of a device is never that of the directory above. */
async function isMounted(place: string): Promise<boolean> {
  try {
    const [own, above] = await Promise.all([stat(place), stat(dirname(place))]);
    return own.dev !== above.dev;
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return false;
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return [];
    throw error;
  }
}

async function removeDirectory(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!hasErrorCode(error, 'ENOENT')) throw error;
  }
}
