/** What this node has of volumes of CSI drivers: a file for each that was, or may have been, published for a pod. Read once, then kept. */
import { mkdir, readFile, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { once } from '#lib/once.ts';
import { hasErrorCode } from '../errors.ts';

/** By the names that a kubelet uses, and beyond them the paths. */
export interface VolumeRecord {
  driverName: string;
  volumeHandle: string;
  /** The PersistentVolume's name; of an inline volume its name in the pod. */
  specVolID: string;
  volumeLifecycleMode: 'Persistent' | 'Ephemeral';
  attachmentID: string;
  podUID: string;
  /** Absent where the driver stages nothing. */
  stagingPath?: string;
  targetPath: string;
  /** What is at the paths is a device. */
  block?: true;
}

const FILE = 'vol_data.json';
/** Below a pod's directory. */
const PLUGIN = { mounted: join('volumes', 'kubernetes.io~csi'), block: join('volumeDevices', 'kubernetes.io~csi') };

export class VolumeRecords {
  readonly #pods: string;
  readonly #records = new Map<string, VolumeRecord>();
  readonly #read = once(() => this.#readAll());

  /** @param pods  the directory of the pods' directories */
  constructor(pods: string) {
    this.#pods = pods;
  }

  /** Where the record of a volume lies; a mounted one is published beside it, at `mount`. */
  directory(podDirectory: string, specVolID: string, block: boolean): string {
    return join(podDirectory, block ? PLUGIN.block : PLUGIN.mounted, specVolID);
  }

  async all(): Promise<VolumeRecord[]> {
    await this.#read();
    return [...this.#records.values()];
  }

  async put(directory: string, record: VolumeRecord): Promise<void> {
    await this.#read();
    await mkdir(directory, { recursive: true, mode: 0o750 });
    await writeFileAtomic(join(directory, FILE), JSON.stringify(record));
    this.#records.set(directory, record);
  }

  /** With the directories that were made for it. */
  async remove(record: VolumeRecord): Promise<void> {
    for (const [directory, known] of this.#records) {
      if (known !== record) continue;
      await rm(join(directory, FILE), { force: true });
      await removeEmpty(directory);
      this.#records.delete(directory);
      // Up to the pod's own.
      await removeIfEmpty(dirname(directory), dirname(dirname(directory)), dirname(dirname(dirname(directory))));
    }
  }

  async #readAll(): Promise<void> {
    for (const uid of await namesIn(this.#pods))
      for (const plugin of Object.values(PLUGIN))
        for (const name of await namesIn(join(this.#pods, uid, plugin))) {
          const directory = join(this.#pods, uid, plugin, name);
          const record = await readRecord(join(directory, FILE));
          if (record !== undefined) this.#records.set(directory, record);
        }
  }
}

async function readRecord(path: string): Promise<VolumeRecord | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as VolumeRecord;
  } catch (error) {
    // Written whole or not at all: without it the driver was never asked.
    if (hasErrorCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

/** What is not empty, or has something mounted on it, stays and is an error: the driver said that it was done. */
async function removeEmpty(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    if (!hasErrorCode(error, 'ENOENT')) throw error;
  }
}

/** Where a volume was published. A device's driver makes the node, or the file that it is bound to, and should have removed it. */
export async function removeTarget({ targetPath, block }: VolumeRecord): Promise<void> {
  if (block !== true) return await removeEmpty(targetPath);
  await rm(targetPath, { force: true });
  await removeIfEmpty(dirname(targetPath), dirname(dirname(targetPath)));
}

/** The directory that holds one volume's staging, with its parent. */
export async function removeStaging(stagingPath: string): Promise<void> {
  await removeEmpty(stagingPath);
  await removeIfEmpty(dirname(stagingPath));
}

async function removeIfEmpty(...directories: string[]): Promise<void> {
  try {
    for (const directory of directories) await removeEmpty(directory);
  } catch (error) {
    if (!hasErrorCode(error, 'ENOTEMPTY')) throw error;
  }
}
