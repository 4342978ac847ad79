/** Volumes and mounts: the real client over the real engine. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { TarInput } from '#lib/tar/write.ts';
import { simulateBoot } from '#testing/boot.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let image = '';
/** Has `/seeded` with files of several owners, and a volume at `/declared`. */
let rich = '';
let allowed = '';

const entry = (name: string, wishes: Partial<TarInput>): TarInput => {
  const data = wishes.data instanceof Uint8Array ? wishes.data : Buffer.alloc(0);
  const plain = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1_600_000_000, linkName: '' } as const;
  return { ...plain, ...wishes, name, data, sizeBytes: data.length };
};
const run = async (...words: string[]): Promise<string> => await docker.ok('run', '--rm', ...words);
const refused = async (...words: string[]): Promise<string> => {
  const said = await docker.docker(words);
  assert.notEqual(said.code, 0, `${words.join(' ')} is refused`);
  return said.stderr;
};
const shell = (script: string): string[] => ['sh', '-c', script];

describe('volumes of the docker client', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    allowed = mkdtempSync(join(tmpdir(), 'volumes-'));
    chmodSync(allowed, 0o755);
    docker = await openDockerHost({ allowedBinds: [allowed] });
    ({ image } = docker.host);
    rich = await addBusyboxImage(docker.host.engine.images, {
      repository: 'rich',
      config: { Volumes: { '/declared': {} } },
      layers: [
        [
          entry('seeded', { type: 'directory', mode: 0o2750, uid: 1000, gid: 2000 }),
          entry('seeded/covered', { data: Buffer.from('below') }),
          entry('seeded/removed', { data: Buffer.from('below') }),
          entry('declared', { type: 'directory', mode: 0o700, uid: 1000, gid: 1000 }),
        ],
        [
          entry('seeded', { type: 'directory', mode: 0o2750, uid: 1000, gid: 2000 }),
          entry('seeded/covered', { data: Buffer.from('above'), mode: 0o4711, uid: 7, gid: 8 }),
          entry('seeded/.wh.removed', {}),
          entry('seeded/marked', { xattrs: new Map([['user.mark', Buffer.from('kept')]]) }),
          entry('seeded/linked', { type: 'symlink', linkName: 'covered', mode: 0o777 }),
          entry('seeded/sub', { type: 'directory', mode: 0o711, uid: 5 }),
          entry('seeded/.hidden', { data: Buffer.from('x') }),
          entry('way', { type: 'symlink', linkName: '/seeded', mode: 0o777 }),
        ],
      ],
    });
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    rmSync(allowed, { recursive: true, force: true });
  });

  const look = 'cd /v; stat -c "%n %a %u:%g" . $(ls -A | sort); cat covered';
  const seeded = [
    '. 2750 1000:2000',
    '.hidden 644 0:0',
    'covered 4711 7:8',
    'linked 777 0:0',
    'marked 644 0:0',
    'sub 711 5:0',
    'above',
  ];

  test('an empty volume is filled once with what the image has there', async () => {
    const listing = async (...flags: string[]): Promise<string[]> =>
      (await run(...flags, rich, ...shell(look.replace('/v', '/seeded')))).trim().split('\n');
    assert.deepEqual(await listing('-v', 'full:/seeded'), seeded);
    const inVolume = (await docker.ok('volume', 'inspect', '-f', '{{.Mountpoint}}', 'full')).trim();
    const archive = execFileSync('tar', ['--xattrs', '--xattrs-include=user.*', '-C', inVolume, '-cf', '-', 'marked']);
    assert.match(archive.toString('latin1'), /SCHILY\.xattr\.user\.mark=kept/);
    await run('-v', 'full:/seeded', rich, 'rm', '/seeded/covered');
    assert.equal(await run('-v', 'full:/seeded', rich, ...shell('ls /seeded | wc -l')), '3\n');
    // By a link of the image's, read-only, and through --mount.
    assert.deepEqual(await listing('-v', 'linked:/way:ro', '-v', 'linked:/seeded:ro'), seeded);
    assert.deepEqual(await listing('--mount', 'type=volume,src=mounted,dst=/seeded'), seeded);
    for (const flags of [
      ['-v', 'bare:/seeded:nocopy'],
      ['--mount', 'type=volume,src=bare,dst=/seeded,volume-nocopy'],
    ])
      assert.equal(await run(...flags, rich, 'ls', '-A', '/seeded'), '');
    assert.equal(await run('-v', 'nothing:/not-in-the-image', rich, 'ls', '-A', '/not-in-the-image'), '');
    await docker.ok('volume', 'rm', 'full', 'linked', 'mounted', 'bare', 'nothing');
  });

  test('a filling that was killed is begun again, or brought to its end', async () => {
    const mountpoint = (
      await docker.ok('volume', 'inspect', '-f', '{{.Mountpoint}}', (await docker.ok('volume', 'create', 'cut')).trim())
    ).trim();
    mkdirSync(join(mountpoint, '.sampan-copying'));
    writeFileSync(join(mountpoint, '.sampan-copying', 'part'), '');
    assert.equal(await run('-v', 'cut:/seeded', rich, ...shell('ls -A /seeded | wc -l')), '5\n');
    await docker.ok('volume', 'rm', 'cut');
    await docker.ok('volume', 'create', 'cut');
    mkdirSync(join(mountpoint, '.sampan-copied'));
    writeFileSync(join(mountpoint, '.sampan-copied', 'rest'), '');
    writeFileSync(join(mountpoint, 'moved'), '');
    assert.equal(await run('-v', 'cut:/seeded', rich, 'ls', '-A', '/seeded'), 'moved\nrest\n');
    await docker.ok('volume', 'rm', 'cut');
  });

  test('containers with different user namespaces read and write what the other wrote', async () => {
    for (const name of ['left', 'right']) {
      await docker.ok('run', '-d', '--name', name, '-v', 'common:/common', image, 'sleep', '1000');
    }
    const inside = async (name: string, user: string, script: string): Promise<string> =>
      (await docker.ok('exec', '-u', user, name, ...shell(script))).trim();
    const [left, right] = docker.host.engine.sandboxes().map(({ idRange }) => idRange.first);
    assert.notEqual(left, right, 'two ranges of ids');
    await inside('left', '0', 'mkdir -m 777 /common/open; echo a > /common/of-root; chmod 600 /common/of-root');
    await inside('left', '1000:1000', 'echo a > /common/open/of-1000; chmod 600 /common/open/of-1000');
    assert.equal(await inside('right', '0', 'echo b >> /common/of-root; cat /common/of-root'), 'a\nb');
    assert.equal(await inside('right', '1000', 'echo b >> /common/open/of-1000; cat /common/open/of-1000'), 'a\nb');
    assert.equal(await inside('left', '1000', 'echo c >> /common/open/of-1000; cat /common/open/of-1000'), 'a\nb\nc');
    const owners = 'stat -c %u:%g /common/of-root /common/open/of-1000';
    assert.equal(await inside('left', '0', owners), '0:0\n1000:1000');
    assert.equal(await inside('right', '0', owners), '0:0\n1000:1000');
    assert.match(await refused('exec', '-u', '1000', 'right', 'cat', '/common/of-root'), /Permission denied/);
    await docker.ok('rm', '-f', 'left', 'right');
    await docker.ok('volume', 'rm', 'common');
  });

  test('lists, labels, what is in use, and prune', async () => {
    await docker.ok('volume', 'create', '--label', 'tier=data', '--label', 'keep', 'named');
    assert.equal(
      (await docker.ok('volume', 'inspect', '-f', '{{json .Labels}}', 'named')).trim(),
      '{"keep":"","tier":"data"}',
    );
    const drawn = (await docker.ok('volume', 'create')).trim();
    const id = (await docker.ok('create', '--name', 'user', '-v', 'named:/named', '-v', '/own', rich, 'true')).trim();
    const find = async (...filters: string[]): Promise<string[]> =>
      (await docker.ok('volume', 'ls', '-q', ...filters.flatMap((filter) => ['--filter', filter])))
        .split('\n')
        .filter(Boolean);
    // Named, drawn, the container's own, and the image's.
    assert.equal((await find()).length, 4);
    assert.deepEqual(await find('label=tier=data'), ['named']);
    assert.deepEqual(await find('dangling=true'), [drawn]);
    assert.equal((await find('dangling=false')).length, 3);
    assert.equal((await find('driver=local')).length, 4);
    assert.deepEqual(await find('driver=nfs'), []);
    assert.deepEqual(await find('name=^nam'), ['named']);
    assert.match(await refused('volume', 'rm', 'named'), new RegExp(`remove named: volume is in use - \\[${id}\\]`));
    assert.match(await refused('volume', 'rm', 'absent'), /get absent: no such volume/);
    // Without -v they stay, also when the engine is opened again.
    await docker.ok('rm', 'user');
    await docker.reopen();
    assert.equal((await find('dangling=true')).length, 4);
    await docker.ok('volume', 'prune', '-f', '--filter', 'label!=com.docker.volume.anonymous');
    assert.equal((await find()).length, 4);
    const pruned = await docker.ok('volume', 'prune', '-f');
    assert.ok(pruned.includes(drawn) && pruned.includes('Total reclaimed space'), pruned);
    assert.deepEqual(await find(), ['named']);
    await docker.ok('volume', 'prune', '-af', '--filter', 'label!=keep');
    assert.deepEqual(await find(), ['named']);
    await docker.ok('volume', 'prune', '-af', '--filter', 'label=keep');
    assert.deepEqual(await find(), []);
  });

  test('anonymous ones go with --rm and rm -v, and only they', async () => {
    const names = async (): Promise<string> => (await docker.ok('volume', 'ls', '-q')).trim();
    await run('-v', '/own', '-v', 'stays:/stays', rich, 'true');
    assert.equal(await names(), 'stays');
    await docker.ok('create', '--name', 'gone', '-v', '/own', '-v', 'stays:/stays', rich, 'true');
    assert.equal((await names()).split('\n').length, 3);
    await docker.ok('rm', '-v', 'gone');
    assert.equal(await names(), 'stays');
    await docker.ok('volume', 'rm', 'stays');
  });

  test('system df tells sizes and users', async () => {
    await docker.ok(
      'run',
      '--name',
      'writer',
      '-v',
      'big:/big',
      image,
      ...shell('head -c 300000 /dev/zero > /big/x; head -c 500000 /dev/zero > /y'),
    );
    const rows = await docker.ok(
      'system',
      'df',
      '-v',
      '--format',
      '{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}};{{end}}',
    );
    assert.match(rows, /^big 1 3\d\d(\.\d)?kB;/);
    assert.match(await docker.ok('ps', '-as', '--format', '{{.Names}} {{.Size}}'), /^writer 5\d\d(\.\d)?kB/);
    await docker.ok('rm', 'writer');
    await docker.ok('volume', 'rm', 'big');
  });

  test('options of the local driver', async () => {
    await docker.ok(
      'volume',
      'create',
      '-o',
      'type=tmpfs',
      '-o',
      'device=tmpfs',
      '-o',
      'o=size=2m,uid=1000,mode=700',
      'quick',
    );
    const see = 'df -k /v | tail -1 | tr -s " " | cut -d" " -f2; stat -c "%a %u" /v';
    assert.equal(await run('-v', 'quick:/v', image, ...shell(`${see}; echo kept > /v/x`)), '2048\n700 1000\n');
    assert.equal(await run('-v', 'quick:/v', image, 'cat', '/v/x'), 'kept\n');
    assert.equal((await docker.ok('volume', 'inspect', '-f', '{{.Options.type}}', 'quick')).trim(), 'tmpfs');
    await docker.ok('create', '--name', 'later', '-v', 'quick:/v', image, ...shell(`${see}; ls /v`));
    await docker.pause();
    await simulateBoot(docker.host.options);
    await docker.resume();
    assert.equal(await docker.ok('start', '-a', 'later'), '2048\n700 1000\n', 'it is there again, and empty');
    await docker.ok('rm', 'later');
    await docker.ok('volume', 'rm', 'quick');
    const share = join(allowed, 'share');
    mkdirSync(share);
    const bind = (device: string): string[] => [
      'volume',
      'create',
      '-o',
      'type=none',
      '-o',
      'o=bind',
      '-o',
      `device=${device}`,
    ];
    await docker.ok(...bind(share), 'shared');
    await run('-v', 'shared:/v', image, 'touch', '/v/made');
    assert.deepEqual(readdirSync(share), ['made']);
    await docker.ok('volume', 'rm', 'shared');
    assert.deepEqual(readdirSync(share), ['made']);
    await docker.ok(...bind('/etc'), 'outside');
    assert.match(await refused('run', '-v', 'outside:/v', image, 'true'), /bind mount of \/etc refused/);
    await docker.ok('volume', 'rm', 'outside');
    const create = async (...words: string[]): Promise<string> =>
      await refused('volume', 'create', ...words.flatMap((word) => ['-o', word]), 'wrong');
    assert.match(
      await create('type=nfs', 'device=:/x', 'o=addr=1.2.3.4'),
      /"type": "nfs" is not mounted by this engine/,
    );
    assert.match(await create('colour=red'), /invalid option: "colour"/);
    assert.match(await create('type=tmpfs'), /missing required option: "device"/);
    assert.match(await create('type=tmpfs', 'device=tmpfs', 'o=size=lots'), /"size=lots" is not known for tmpfs/);
    assert.match(await refused('volume', 'create', '-d', 'other', 'wrong'), /plugin "other" not found/);
    assert.match(await refused('volume', 'create', '../x'), /includes invalid characters/);
    assert.equal(await docker.ok('volume', 'ls', '-q'), '');
  });

  test('bind mounts: made for -v, asked for by --mount, and what propagates', async () => {
    const made = join(allowed, 'made', 'deep');
    await run('-v', `${made}:/in`, image, 'touch', '/in/x');
    assert.ok(existsSync(join(made, 'x')));
    const absent = join(allowed, 'absent');
    assert.match(
      await refused('run', '--mount', `type=bind,src=${absent},dst=/in`, image, 'true'),
      new RegExp(`invalid mount config for type "bind": bind source path does not exist: ${absent}`),
    );
    symlinkSync('/var/tmp', join(allowed, 'way-out'));
    assert.match(await refused('run', '-v', `${allowed}/way-out/sampan-never:/in`, image, 'true'), /is not below/);
    assert.match(await refused('run', '-v', `${allowed}/../sampan-never:/in`, image, 'true'), /is not below/);
    assert.ok(!existsSync('/var/tmp/sampan-never') && !existsSync(join(allowed, '..', 'sampan-never')));
    assert.match(await refused('run', '-v', `${allowed}:/in:rshared`, image, 'true'), /would appear on the host/);
    assert.match(await refused('run', '-v', 'name:/in:rslave', image, 'true'), /invalid mode: rslave/);
    assert.match(
      await refused('run', '--mount', 'type=volume,src=x,dst=/in,volume-subpath=a', image, 'true'),
      /a part of a volume is not mounted alone/,
    );
    assert.match(
      await refused('run', '-v', `${allowed}:/in`, '--tmpfs', '/in', image, 'true'),
      /Duplicate mount point/,
    );
    assert.equal(await docker.ok('volume', 'ls', '-q'), '');
  });

  test('what the host mounts below a bind mount is seen with rslave, and stays on the host', async () => {
    const shared = join(allowed, 'shared');
    const tmpfs = (path: string): void => {
      mkdirSync(path, { recursive: true });
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path]);
    };
    tmpfs(shared);
    try {
      execFileSync('mount', ['--make-shared', shared]);
      chmodSync(shared, 0o755);
      tmpfs(join(shared, 'early'));
      writeFileSync(join(shared, 'early', 'a'), '');
      await docker.ok('run', '-d', '--name', 'slave', '-v', `${shared}:/in:rslave`, image, 'sleep', '1000');
      await docker.ok('run', '-d', '--name', 'private', '-v', `${shared}:/in`, image, 'sleep', '1000');
      await docker.ok(
        'run',
        '-d',
        '--name',
        'flat',
        '--mount',
        `type=bind,src=${shared},dst=/in,bind-recursive=disabled`,
        image,
        'sleep',
        '1000',
      );
      tmpfs(join(shared, 'late'));
      writeFileSync(join(shared, 'late', 'b'), '');
      const seen = async (name: string): Promise<string> =>
        await docker.ok('exec', name, ...shell('ls /in/early /in/late'));
      assert.equal(await seen('slave'), '/in/early:\na\n\n/in/late:\nb\n');
      assert.equal(await seen('private'), '/in/early:\na\n\n/in/late:\n');
      assert.equal(await seen('flat'), '/in/early:\n\n/in/late:\n');
      await docker.ok('rm', '-f', 'slave', 'private', 'flat');
      // A copy of a shared mount must not take the host's own away with it.
      assert.deepEqual(readdirSync(join(shared, 'late')), ['b']);
      assert.deepEqual(readdirSync(join(shared, 'early')), ['a']);
    } finally {
      execFileSync('umount', ['-R', shared]);
    }
  });
});
