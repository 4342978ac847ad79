/** The three ways to ask for mounts: `Binds`, `Mounts` and `Tmpfs`, and `Volumes` of the configuration. Pure. */
import type { Mount } from '../engine.ts';
import type { Fields } from './body.ts';
import { DockerError } from './errors.ts';

export type MountWish =
  | { kind: 'bind'; source: string; target: string; readOnly: boolean }
  /** An empty name: a volume of the container's own. */
  | { kind: 'volume'; name: string; target: string; readOnly: boolean }
  | Extract<Mount, { kind: 'tmpfs' }>;

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
/** What every tmpfs is anyway. */
const TMPFS_DEFAULTS = new Set(['defaults', 'rw', 'noexec', 'nosuid', 'nodev', 'async', 'rprivate', 'private']);
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
  return {
    kind: 'tmpfs',
    target,
    noExec: true,
    readOnly,
    ...(sizeBytes > 0 ? { sizeBytes } : {}),
    ...(mode > 0 ? { mode } : {}),
  };
}

/** As Docker does, nothing in it is executed where that is not asked for. */
function readTmpfs(host: Fields, target: string, options: string): MountWish {
  const wish: Extract<MountWish, { kind: 'tmpfs' }> = { kind: 'tmpfs', target, noExec: true };
  for (const option of options.split(',').filter((word) => word !== '')) {
    const [name = '', value = ''] = option.split('=', 2);
    const number = /^\d{1,9}$/.test(value) ? Number(value) : undefined;
    const size = /^(\d{1,12})([bkmg]?)$/i.exec(value);
    if (name === 'size' && size !== null)
      wish.sizeBytes = Number(size[1]) * (UNITS[(size[2] ?? '').toLowerCase()] ?? 1);
    else if (name === 'mode' && /^[0-7]{3,4}$/.test(value)) wish.mode = Number.parseInt(value, 8);
    else if (name === 'uid' && number !== undefined) wish.uid = number;
    else if (name === 'gid' && number !== undefined) wish.gid = number;
    else if (name === 'nr_inodes' && number !== undefined) wish.inodes = number;
    else if (option === 'exec') wish.noExec = false;
    else if (option === 'noatime') wish.noAccessTime = true;
    else if (option === 'ro') wish.readOnly = true;
    else if (option === 'suid' || option === 'dev')
      throw host.refuse('Tmpfs', `${option} for ${target}: set-id programs and devices are not given`);
    else if (!TMPFS_DEFAULTS.has(option)) throw new DockerError(400, `Invalid tmpfs option ${JSON.stringify(option)}`);
  }
  return wish;
}
