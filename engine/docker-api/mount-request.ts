/** The three ways to ask for mounts: `Binds`, `Mounts` and `Tmpfs`, and `Volumes` of the configuration. Pure. */
import type { Mount } from '../engine.ts';
import type { Fields } from './body.ts';
import { DockerError } from './errors.ts';

type Propagation = 'private' | 'rprivate' | 'slave' | 'rslave';

export type MountWish =
  | {
      kind: 'bind';
      source: string;
      target: string;
      readOnly: boolean;
      propagation?: Propagation;
      /** With what is mounted below the source. */
      recursive?: boolean;
      /** A directory is made where nothing is. */
      make?: boolean;
    }
  | {
      kind: 'volume';
      /** Empty: a volume of the container's own. */
      name: string;
      target: string;
      readOnly: boolean;
      /** Not filled from the image. */
      noCopy?: boolean;
      /** Of the volume, where it is made. */
      labels?: Record<string, string>;
      options?: Record<string, string>;
    }
  | Extract<Mount, { kind: 'tmpfs' }>;

const BIND_OPTIONS = new Set(['ro', 'rw', 'z', 'Z', 'nocopy', 'consistent', 'cached', 'delegated']);
const PROPAGATIONS: readonly Propagation[] = ['private', 'rprivate', 'slave', 'rslave'];
/** What every tmpfs is anyway. */
const TMPFS_DEFAULTS = new Set(['defaults', 'rw', 'noexec', 'nosuid', 'nodev', 'async', 'rprivate', 'private']);
const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

export function readMounts(config: Fields, host: Fields): MountWish[] {
  checkDriver(host.text('VolumeDriver'));
  const wishes = [
    ...(host.strings('Binds') ?? []).map((bind) => readBind(host, bind)),
    ...host.objects('Mounts').map(readMount),
    ...Object.entries(host.stringMap('Tmpfs')).map(([target, options]) => readTmpfs(host, target, options)),
  ];
  const targets = new Set(wishes.map(({ target }) => target));
  if (targets.size < wishes.length)
    throw host.refuse('Binds', 'Duplicate mount point: two mounts have the same target');
  for (const target of config.keys('Volumes')) if (!targets.has(target)) wishes.push(ownVolume(target));
  for (const { target } of wishes) {
    if (!target.startsWith('/') || target === '/' || target.split('/').includes('..'))
      throw host.refuse('Binds', `invalid mount path: ${JSON.stringify(target)} must be absolute and below /`);
  }
  return wishes;
}

/** A volume of the container's own. */
export function ownVolume(target: string): MountWish {
  return { kind: 'volume', name: '', target, readOnly: false };
}

function readBind(host: Fields, text: string): MountWish {
  const [first = '', second, options = '', ...rest] = text.split(':');
  if (rest.length > 0 || first === '')
    throw host.refuse('Binds', `${JSON.stringify(text)} is not source:target[:options]`);
  if (second === undefined) return ownVolume(first);
  const words = options.split(',').filter((word) => word !== '');
  const [propagation] = words.filter((word) => isPropagation(host, 'Binds', word));
  const isPath = first.startsWith('/');
  const unknown = words.find((word) => !BIND_OPTIONS.has(word) && !(isPath && word === propagation));
  if (unknown !== undefined) throw host.refuse('Binds', `invalid mode: ${unknown} in ${JSON.stringify(text)}`);
  const readOnly = words.includes('ro');
  if (isPath) {
    const found = PROPAGATIONS.find((one) => one === propagation);
    const common = { kind: 'bind', source: first, target: second, readOnly, recursive: true, make: true } as const;
    return { ...common, ...(found && { propagation: found }) };
  }
  const noCopy = words.includes('nocopy');
  return { kind: 'volume', name: first, target: second, readOnly, noCopy };
}

function isPropagation(fields: Fields, field: string, word: string): boolean {
  if (word === 'shared' || word === 'rshared')
    throw fields.refuse(
      field,
      `propagation ${word} is not supported: what a container mounts would appear on the host; use rslave to see what the host mounts`,
    );
  return PROPAGATIONS.some((one) => one === word);
}

function readMount(mount: Fields): MountWish {
  const type = mount.text('Type');
  const target = mount.text('Target');
  const source = mount.text('Source');
  if (type === 'volume') return readVolume(mount, target, source);
  if (type === 'bind') return readBindMount(mount, target, source);
  if (type !== 'tmpfs') throw mount.refuse('Type', `${JSON.stringify(type)} is none of bind, volume, tmpfs`);
  if (source !== '') throw mount.refuse('Source', 'a tmpfs has none');
  const options = mount.object('TmpfsOptions');
  const sizeBytes = options.integer('SizeBytes');
  const mode = options.integer('Mode');
  return {
    kind: 'tmpfs',
    target,
    noExec: true,
    readOnly: mount.flag('ReadOnly'),
    ...(sizeBytes > 0 ? { sizeBytes } : {}),
    ...(mode > 0 ? { mode } : {}),
  };
}

function readBindMount(mount: Fields, target: string, source: string): MountWish {
  if (!source.startsWith('/')) throw mount.refuse('Source', `${JSON.stringify(source)} must be absolute`);
  const options = mount.object('BindOptions');
  const propagation = options.text('Propagation');
  if (propagation !== '' && !isPropagation(options, 'Propagation', propagation))
    throw options.refuse('Propagation', `${JSON.stringify(propagation)} is none of ${PROPAGATIONS.join(', ')}`);
  if (options.flag('ReadOnlyNonRecursive'))
    throw options.refuse('ReadOnlyNonRecursive', 'a read-only mount is so with all that is below it');
  const found = PROPAGATIONS.find((one) => one === propagation);
  return {
    kind: 'bind',
    source,
    target,
    readOnly: mount.flag('ReadOnly'),
    recursive: !options.flag('NonRecursive'),
    make: options.flag('CreateMountpoint'),
    ...(found && { propagation: found }),
  };
}

function readVolume(mount: Fields, target: string, name: string): MountWish {
  const options = mount.object('VolumeOptions');
  const driver = options.object('DriverConfig');
  checkDriver(driver.text('Name'));
  if (options.text('Subpath') !== '')
    throw options.refuse('Subpath', 'a part of a volume is not mounted alone; mount the volume, or use another one');
  return {
    kind: 'volume',
    name,
    target,
    readOnly: mount.flag('ReadOnly'),
    noCopy: options.flag('NoCopy'),
    labels: options.stringMap('Labels'),
    options: driver.stringMap('Options'),
  };
}

/** @throws DockerError 404 for any but the one that there is */
export function checkDriver(driver: string): void {
  if (!['', 'local'].includes(driver))
    throw new DockerError(404, `error looking up volume plugin ${driver}: plugin "${driver}" not found`);
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
