/** The three ways to ask for mounts: `Binds`, `Mounts` and `Tmpfs`, and `Volumes` of the configuration. Pure. */
import type { Fields } from './body.ts';

export type MountWish =
  | { kind: 'bind'; source: string; target: string; readOnly: boolean }
  /** An empty name: a volume of the container's own. */
  | { kind: 'volume'; name: string; target: string; readOnly: boolean }
  | { kind: 'tmpfs'; target: string; sizeBytes?: number; mode?: number };

const BIND_OPTIONS = new Set([
  'ro',
  'rw',
  'z',
  'Z',
  'rprivate',
  'private',
  'nocopy',
  'consistent',
  'cached',
  'delegated',
]);
const TMPFS_OPTIONS = new Set(['rw', 'noexec', 'exec', 'nosuid', 'nodev', 'noatime']);
const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

export function readMounts(config: Fields, host: Fields): MountWish[] {
  const wishes = [
    ...(host.strings('Binds') ?? []).map((bind) => readBind(host, bind)),
    ...host.objects('Mounts').map(readMount),
    ...Object.entries(host.stringMap('Tmpfs')).map(([target, options]) => readTmpfs(host, target, options)),
  ];
  const targets = new Set(wishes.map(({ target }) => target));
  if (targets.size < wishes.length)
    throw host.refuse('Binds', 'Duplicate mount point: two mounts have the same target');
  for (const target of config.keys('Volumes')) {
    if (targets.has(target)) continue;
    wishes.push({ kind: 'volume', name: '', target, readOnly: false });
  }
  for (const { target } of wishes) {
    if (!target.startsWith('/') || target === '/' || target.split('/').includes('..'))
      throw host.refuse('Binds', `invalid mount path: ${JSON.stringify(target)} must be absolute and below /`);
  }
  return wishes;
}

function readBind(host: Fields, text: string): MountWish {
  const [first = '', second, options = '', ...rest] = text.split(':');
  if (rest.length > 0 || first === '')
    throw host.refuse('Binds', `${JSON.stringify(text)} is not source:target[:options]`);
  if (second === undefined) return { kind: 'volume', name: '', target: first, readOnly: false };
  const words = options.split(',').filter((word) => word !== '');
  const unknown = words.find((word) => !BIND_OPTIONS.has(word));
  if (unknown !== undefined) throw host.refuse('Binds', `invalid mode: ${unknown} in ${JSON.stringify(text)}`);
  const readOnly = words.includes('ro');
  return first.startsWith('/')
    ? { kind: 'bind', source: first, target: second, readOnly }
    : { kind: 'volume', name: first, target: second, readOnly };
}

function readMount(mount: Fields): MountWish {
  const type = mount.text('Type');
  const target = mount.text('Target');
  const readOnly = mount.flag('ReadOnly');
  const source = mount.text('Source');
  if (type === 'volume') return { kind: 'volume', name: source, target, readOnly };
  if (type === 'bind') {
    if (!source.startsWith('/')) throw mount.refuse('Source', `${JSON.stringify(source)} must be absolute`);
    return { kind: 'bind', source, target, readOnly };
  }
  if (type !== 'tmpfs') throw mount.refuse('Type', `${JSON.stringify(type)} is none of bind, volume, tmpfs`);
  const options = mount.object('TmpfsOptions');
  const sizeBytes = options.integer('SizeBytes');
  const mode = options.integer('Mode');
  return { kind: 'tmpfs', target, ...(sizeBytes > 0 ? { sizeBytes } : {}), ...(mode > 0 ? { mode } : {}) };
}

function readTmpfs(host: Fields, target: string, options: string): MountWish {
  const wish: MountWish = { kind: 'tmpfs', target };
  for (const option of options.split(',').filter((word) => word !== '')) {
    const [name, value = ''] = option.split('=', 2);
    const size = /^(\d{1,12})([bkmg]?)$/i.exec(value);
    if (name === 'size' && size !== null)
      wish.sizeBytes = Number(size[1]) * (UNITS[(size[2] ?? '').toLowerCase()] ?? 1);
    else if (name === 'mode' && /^[0-7]{3,4}$/.test(value)) wish.mode = Number.parseInt(value, 8);
    else if (!TMPFS_OPTIONS.has(option))
      throw host.refuse('Tmpfs', `invalid tmpfs option ${JSON.stringify(option)} for ${target}`);
  }
  return wish;
}
