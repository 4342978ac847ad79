/** Options of the `local` volume driver: what mount(8) would be told. A tmpfs, and a directory below those that may be mounted. */
import { DockerError } from './errors.ts';

/** What a volume is, besides a directory of its own. */
export type VolumeKind =
  | { kind: 'tmpfs'; data: string }
  /** A directory of the host; whether it may be mounted is asked each time. */
  | { kind: 'bind'; source: string };

const KNOWN = ['type', 'o', 'device', 'size'];
const TMPFS_VALUES: Readonly<Record<string, RegExp>> = {
  size: /^\d{1,12}[kmg%]?$/i,
  nr_inodes: /^\d{1,12}[kmg]?$/i,
  mode: /^[0-7]{1,4}$/,
  uid: /^\d{1,9}$/,
  gid: /^\d{1,9}$/,
};
/** The engine's own mounts have these whatever is said. */
const TMPFS_WORDS = ['rw', 'nosuid', 'nodev'];

/** Undefined without options: a directory. @throws DockerError 400 */
export function readVolumeOptions(options: Readonly<Record<string, string>>): VolumeKind | undefined {
  const names = Object.keys(options);
  if (names.length === 0) return undefined;
  for (const name of names)
    if (!KNOWN.includes(name)) throw new DockerError(400, `invalid option: ${JSON.stringify(name)}`);
  if (options['size'] !== undefined)
    throw new DockerError(
      400,
      'invalid option: "size": quotas of a directory are not supported; use type=tmpfs with o=size=…',
    );
  for (const name of ['device', 'type'])
    if (options[name] === undefined) throw new DockerError(400, `missing required option: ${JSON.stringify(name)}`);
  const words = (options['o'] ?? '').split(',').filter((word) => word !== '');
  const type = options['type'] ?? '';
  if (type === 'tmpfs') return { kind: 'tmpfs', data: words.flatMap(tmpfsWord).join(',') };
  if (type === 'none' && (words.includes('bind') || words.includes('rbind'))) return bindOption(words, options);
  throw new DockerError(
    400,
    `invalid option: "type": ${JSON.stringify(type)} is not mounted by this engine; known are tmpfs, and none with o=bind for a directory below one that --allow-bind names (mount other file systems on the host, below such a directory)`,
  );
}

function tmpfsWord(word: string): string[] {
  if (TMPFS_WORDS.includes(word)) return [];
  const [name = '', value = ''] = word.split('=', 2);
  if (TMPFS_VALUES[name]?.test(value) !== true)
    throw new DockerError(
      400,
      `invalid option: "o": ${JSON.stringify(word)} is not known for tmpfs; known are ${Object.keys(TMPFS_VALUES).join(', ')}`,
    );
  return [word];
}

function bindOption(words: string[], { device = '' }: Readonly<Record<string, string>>): VolumeKind {
  const unknown = words.find((word) => !['bind', 'rbind', 'rw'].includes(word));
  if (unknown !== undefined)
    throw new DockerError(400, `invalid option: "o": ${JSON.stringify(unknown)} does not go with bind`);
  if (!device.startsWith('/'))
    throw new DockerError(400, `invalid option: "device": ${JSON.stringify(device)} must be absolute`);
  return { kind: 'bind', source: device };
}
