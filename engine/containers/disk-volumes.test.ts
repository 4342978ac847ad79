/** Disk volumes, parts of volumes and files that are replaced at once, as containers see them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type EngineHost, openEngineHost } from '#testing/engine-host.ts';
import { simulateBoot } from '#testing/boot.ts';
import { type ContainerSpec, EngineError } from '../engine.ts';
import { openEngine } from '../open.ts';
import { mounts, unmount } from '../sys/mounts.ts';
import { layout } from './layout.ts';
import { bindSubPath } from './sub-path.ts';

const MiB = 1024 * 1024;
/** CAP_SYS_RESOURCE, which not every machine gives even to root. */
const mayGrowUsed =
  (BigInt(`0x${/^CapEff:\t(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`) & (1n << 24n)) !== 0n;

describe('disk volumes', { timeout: 600_000 }, () => {
  let host: EngineHost;
  let count = 0;
  before(async () => {
    host = await openEngineHost({ sandboxPool: 1, allowedRisks: ['unconfined'] });
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
  });

  const logOf = async (id: string): Promise<string[]> => {
    const lines: string[] = [];
    for await (const { line } of host.engine.logs(id, {})) lines.push(line.toString());
    return lines;
  };
  /** Runs a script to its end in a sandbox of its own, and gives what it said. */
  const shell = async (script: string, spec: Partial<ContainerSpec>): Promise<string[]> => {
    count += 1;
    const sandbox = await host.engine.createSandbox({ name: `s${count}`, hostname: 's' });
    try {
      const command = ['sh', '-c', script];
      const { id } = await host.engine.createContainer({
        sandbox: sandbox.id,
        name: 'c',
        image: host.image,
        command,
        ...spec,
      });
      await host.engine.startContainer(id);
      await host.engine.waitContainer(id);
      return await logOf(id);
    } finally {
      await host.engine.removeSandbox(sandbox.id);
    }
  };
  const code = (expected: string, text: RegExp) => (error: unknown) =>
    error instanceof EngineError && error.code === expected && text.test(error.message);

  test('a container that ended holds it no more when its mounts are let go', async () => {
    const { diskVolumes } = host.engine;
    const { path } = await diskVolumes.mount({ name: 'held', sizeBytes: 16 * MiB });
    const sandbox = await host.engine.createSandbox({ name: 'holder', hostname: 'holder' });
    const { id } = await host.engine.createContainer({
      sandbox: sandbox.id,
      name: 'c',
      image: host.image,
      command: ['sh', '-c', 'until [ -e /data/go ]; do sleep 0.05; done; echo done'],
      mounts: [{ kind: 'bind', source: path, target: '/data' }],
    });
    await host.engine.startContainer(id);
    await assert.rejects(host.engine.releaseMounts(id), code('conflict', /is running, not exited/));
    writeFileSync(`${path}/go`, '');
    await host.engine.waitContainer(id);
    const device = mounts().find(({ target }) => target === dirname(path))?.source;
    const holders = (): string[] => mounts().flatMap((one) => (one.source === device ? [one.target] : []));
    assert.equal(holders().length, 2);
    await host.engine.releaseMounts(id);
    await host.engine.releaseMounts(id);
    assert.deepEqual(holders(), [dirname(path)]);
    assert.deepEqual(await logOf(id), ['done'], 'its log stays');
    await host.engine.removeSandbox(sandbox.id);
    await diskVolumes.remove('held');
  });

  test('has its own size, keeps what was written in any sandbox, and grows while it is used', async () => {
    const { diskVolumes } = host.engine;
    const made = await diskVolumes.mount({ name: 'data', sizeBytes: 32 * MiB });
    const mounts: ContainerSpec['mounts'] = [{ kind: 'bind', source: made.path, target: '/data' }];
    const first = await shell('ls -A /data; stat -c "%u:%g %a" /data; echo kept > /data/file; id -u', {
      mounts,
      user: '1000',
    });
    assert.deepEqual(first, ['0:0 777', '1000']);
    const full = await shell(
      'dd if=/dev/zero of=/data/fill bs=1M count=64 2>&1 | grep -o "No space.*"; cat /data/file',
      { mounts },
    );
    assert.deepEqual(full, ['No space left on device', 'kept']);
    const sandbox = await host.engine.createSandbox({ name: 'user', hostname: 'user' });
    const command = ['sh', '-c', 'until [ -e /data/go ]; do sleep 0.05; done'];
    const user = await host.engine.createContainer({
      sandbox: sandbox.id,
      name: 'c',
      image: host.image,
      command,
      mounts,
    });
    await host.engine.startContainer(user.id);
    const used = await diskVolumes.mount({ name: 'data', sizeBytes: 128 * MiB });
    assert.equal(used.sizeBytes, mayGrowUsed ? 128 * MiB : 32 * MiB);
    await host.engine.removeSandbox(sandbox.id);
    await diskVolumes.unmount('data');
    const grown = await diskVolumes.mount({ name: 'data', sizeBytes: 128 * MiB });
    assert.equal(grown.sizeBytes, 128 * MiB);
    const more = await shell(
      'dd if=/dev/zero of=/data/more bs=1M count=40 2>/dev/null; wc -c < /data/more; cat /data/file',
      {
        mounts,
      },
    );
    assert.deepEqual(more, ['41943040', 'kept']);
    assert.deepEqual(await diskVolumes.mount({ name: 'data', sizeBytes: MiB * 16 }), grown, 'never shrinks');
    await diskVolumes.remove('data');
    await diskVolumes.remove('data');
    assert.deepEqual(diskVolumes.list(), []);
    assert.equal(existsSync(made.path), false);
  });

  test('is found again by the next engine, and after a boot', async () => {
    const { path } = await host.engine.diskVolumes.mount({ name: 'lasting', sizeBytes: 16 * MiB });
    writeFileSync(join(path, 'file'), 'one');
    await host.reopen();
    assert.deepEqual(host.engine.diskVolumes.list(), [
      { name: 'lasting', kind: 'lasting', sizeBytes: 16 * MiB, mounted: true },
    ]);
    const again = await host.engine.diskVolumes.mount({ name: 'lasting', sizeBytes: 16 * MiB });
    assert.equal(readFileSync(join(again.path, 'file'), 'utf8'), 'one');
    await host.engine.diskVolumes.unmount('lasting');
    await host.engine.diskVolumes.unmount('lasting');
    assert.equal(host.engine.diskVolumes.list()[0]?.mounted, false);
    await host.engine.diskVolumes.mount({ name: 'lasting', sizeBytes: 16 * MiB });
    writeFileSync(join(path, 'file'), 'two');
    execFileSync('sync', ['-f', path]);
    await host.engine.close();
    await simulateBoot(host.options);
    const booted = await openEngine(host.options);
    try {
      const found = await booted.diskVolumes.mount({ name: 'lasting', sizeBytes: 16 * MiB });
      assert.equal(readFileSync(join(found.path, 'file'), 'utf8'), 'two');
      await booted.diskVolumes.remove('lasting');
    } finally {
      await booted.close();
    }
    await host.reopen();
  });

  test('what a container still has is mounted beside it, on the same device', async () => {
    const { diskVolumes } = host.engine;
    const { path } = await diskVolumes.mount({ name: 'shared', sizeBytes: 16 * MiB });
    const sandbox = await host.engine.createSandbox({ name: 'holder', hostname: 'h' });
    const mounts: ContainerSpec['mounts'] = [{ kind: 'bind', source: path, target: '/data' }];
    const command = ['sh', '-c', 'until [ -e /data/go ]; do sleep 0.05; done; echo seen'];
    const holder = await host.engine.createContainer({
      sandbox: sandbox.id,
      name: 'c',
      image: host.image,
      command,
      mounts,
    });
    await host.engine.startContainer(holder.id);
    await diskVolumes.unmount('shared');
    const again = await diskVolumes.mount({ name: 'shared', sizeBytes: 16 * MiB });
    writeFileSync(join(again.path, 'go'), '');
    await host.engine.waitContainer(holder.id, { signal: AbortSignal.timeout(60_000) });
    assert.deepEqual(await logOf(holder.id), ['seen']);
    await host.engine.removeSandbox(sandbox.id);
    await diskVolumes.remove('shared');
  });

  test("a device without a file system: kept, grown, given to one container at its path, and never another file's", async () => {
    const { diskVolumes } = host.engine;
    const block = (sizeBytes: number) => ({ name: 'raw', kind: 'block' as const, sizeBytes });
    const { path } = await diskVolumes.mount(block(16 * MiB));
    const device = { hostPath: path, path: '/dev/xvda', access: 'rwm' };
    await assert.rejects(shell('true', { devices: [device] }), code('forbidden', /devices: .*raw\.block is refused/));
    const devices = [{ ...device, trusted: true as const }];
    const write = 'stat -c "%F" /dev/xvda; printf kept | dd of=/dev/xvda bs=1 seek=4096 conv=notrunc,fsync 2>/dev/null';
    assert.deepEqual(await shell(write, { devices }), ['block special file']);
    const read = 'dd if=/dev/xvda bs=1 skip=4096 count=4 2>/dev/null; echo; blockdev --getsize64 /dev/xvda';
    const readOnly = [{ ...device, access: 'r', trusted: true as const }];
    const refused =
      'printf lost | dd of=/dev/xvda bs=1 seek=4096 conv=notrunc 2>&1 | grep -o "Operation not permitted"';
    assert.deepEqual(await shell(`${refused}; ${read}`, { devices: readOnly }), [
      'Operation not permitted',
      'kept',
      String(16 * MiB),
    ]);
    // Whoever takes it from its file would find another's behind the number.
    const take = 'losetup -d /dev/xvda 2>&1 | grep -o "Operation not permitted"';
    for (const seccomp of [undefined, 'unconfined'] as const)
      assert.deepEqual(
        await shell(`${take}; ${read}`, { devices, ...(seccomp !== undefined && { seccomp }) }),
        ['Operation not permitted', 'kept', String(16 * MiB)],
        String(seccomp),
      );
    const loops = (): string[] =>
      execFileSync('losetup', ['--list', '--noheadings', '--output', 'NAME', '--associated', path], {
        encoding: 'utf8',
      })
        .split('\n')
        .filter((line) => line !== '');
    const [loop] = loops();
    await host.reopen();
    assert.deepEqual(host.engine.diskVolumes.list(), [
      { name: 'raw', kind: 'block', sizeBytes: 16 * MiB, mounted: true },
    ]);
    assert.equal((await host.engine.diskVolumes.mount(block(64 * MiB))).sizeBytes, 64 * MiB);
    assert.deepEqual(loops(), [loop], 'the same one');
    const sandbox = await host.engine.createSandbox({ name: 'has-it', hostname: 'h' });
    const { id } = await host.engine.createContainer({
      sandbox: sandbox.id,
      name: 'c',
      image: host.image,
      command: ['sh', '-c', read],
      devices,
    });
    const used = code('conflict', /volume "raw" is a device of a container that has not ended/);
    await assert.rejects(host.engine.diskVolumes.unmount('raw'), used);
    await assert.rejects(host.engine.diskVolumes.remove('raw'), used);
    await host.engine.startContainer(id);
    await host.engine.waitContainer(id);
    assert.deepEqual(await logOf(id), ['kept', String(64 * MiB)]);
    await host.engine.diskVolumes.unmount('raw');
    await host.engine.diskVolumes.unmount('raw');
    assert.deepEqual([loops(), host.engine.diskVolumes.list()[0]?.mounted], [[], false]);
    await assert.rejects(
      shell('true', { devices }),
      code('invalid', /raw\.block has no device: mount the disk volume/),
    );
    await assert.rejects(
      host.engine.diskVolumes.mount({ name: 'raw', sizeBytes: 16 * MiB }),
      code('invalid', /volume "raw" has no file system, and one was asked for/),
    );
    await host.engine.diskVolumes.mount(block(16 * MiB));
    assert.deepEqual((await shell(read, { devices }))[0], 'kept');
    await host.engine.close();
    await simulateBoot(host.options);
    assert.deepEqual(loops(), []);
    await host.reopen();
    await host.engine.removeSandbox(sandbox.id);
    await host.engine.diskVolumes.remove('raw');
    assert.deepEqual([host.engine.diskVolumes.list(), existsSync(path)], [[], false]);
  });

  test('what a killed engine left half made is taken away, half grown is finished', async () => {
    const { diskVolumesData } = layout(host.options);
    const { path } = await host.engine.diskVolumes.mount({ name: 'grow', sizeBytes: 16 * MiB });
    writeFileSync(join(path, 'file'), 'kept');
    await host.engine.diskVolumes.unmount('grow');
    await host.engine.close();
    writeFileSync(join(diskVolumesData, 'half.img.new'), 'half');
    // Killed between the file's growth and the file system's.
    writeFileSync(join(diskVolumesData, 'grow.img.growing'), String(16 * MiB));
    execFileSync('truncate', ['-s', String(64 * MiB), join(diskVolumesData, 'grow.img')]);
    const engine = await openEngine(host.options);
    try {
      assert.equal(existsSync(join(diskVolumesData, 'half.img.new')), false);
      assert.equal(engine.diskVolumes.list().find(({ name }) => name === 'grow')?.sizeBytes, 16 * MiB);
      const found = await engine.diskVolumes.mount({ name: 'grow', sizeBytes: 16 * MiB });
      assert.equal(found.sizeBytes, 64 * MiB);
      assert.equal(readFileSync(join(found.path, 'file'), 'utf8'), 'kept');
      const blocks = execFileSync('df', ['--output=size', '-BM', found.path], { encoding: 'utf8' });
      assert.ok(Number.parseInt(blocks.split('\n')[1] ?? '', 10) > 40, blocks);
      await engine.diskVolumes.remove('grow');
    } finally {
      await engine.close();
    }
    await host.reopen();
  });

  test('more than the host has is refused, with numbers, and nothing is left', async () => {
    const { diskVolumes } = host.engine;
    await assert.rejects(
      diskVolumes.mount({ name: 'huge', sizeBytes: 2 ** 50 }),
      code(
        'exhausted',
        /volume "huge": no space for 1073741824 MiB on the disk of .* MiB are free, and .* must stay free/,
      ),
    );
    await assert.rejects(
      diskVolumes.mount({ name: 'small', sizeBytes: 1 }),
      code('invalid', /sizeBytes: 1 is too small/),
    );
    await assert.rejects(diskVolumes.mount({ name: '../x', sizeBytes: 16 * MiB }), code('invalid', /name: "\.\.\/x"/));
    assert.deepEqual(diskVolumes.list(), []);
  });

  test('a part of a volume: made where it is missing, through links that stay within, never out of it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sampan-sub-path-'));
    try {
      mkdirSync(join(directory, 'real'));
      writeFileSync(join(directory, 'real', 'file'), 'within\n');
      symlinkSync('real', join(directory, 'link'));
      symlinkSync('/etc', join(directory, 'absolute'));
      symlinkSync('../../etc', join(directory, 'up'));
      const at = (subPath: string, target: string) => ({ kind: 'bind' as const, source: directory, target, subPath });
      const mounts = [at('link', '/link'), at('link/file', '/one'), at('new/deep', '/new')];
      const lines = await shell('cat /link/file /one; echo x > /new/made; stat -c %u:%a /new', { mounts });
      assert.deepEqual(lines, ['within', 'within', '0:700']);
      assert.equal(readFileSync(join(directory, 'new', 'deep', 'made'), 'utf8'), 'x\n');
      for (const subPath of ['absolute', 'absolute/passwd', 'up', 'up/new'])
        await assert.rejects(
          shell('true', { mounts: [at(subPath, '/x')] }),
          code('invalid', /leads out of the volume/),
        );
      await assert.rejects(shell('true', { mounts: [at('../x', '/x')] }), code('invalid', /not a relative path/));
      await assert.rejects(shell('true', { mounts: [at('real/file/x', '/x')] }), code('invalid', /no directory/));
      const file = { ...at('x', '/x'), source: join(directory, 'real', 'file') };
      await assert.rejects(shell('true', { mounts: [file] }), code('invalid', /needs a directory to be in/));
      const scratch = [{ kind: 'shared' as const, name: 'm', target: '/m', memory: true, group: 2000, subPath: 'a/b' }];
      assert.deepEqual(await shell('stat -c %u:%g:%a /m', { mounts: scratch }), ['0:2000:2777']);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('a part of a volume whose owner swaps it for a link is never a part of the host', async () => {
    const { path } = await host.engine.diskVolumes.mount({ name: 'swapped', sizeBytes: 16 * MiB });
    const secret = mkdtempSync(join(tmpdir(), 'sampan-secret-'));
    writeFileSync(join(secret, 'file'), 'of the host');
    const sandbox = await host.engine.createSandbox({ name: 'swapper', hostname: 's' });
    const mounts = [{ kind: 'bind' as const, source: path, target: '/data' }];
    const script = `cd /data; mkdir a real; ln -s ${secret} out; while :; do
      mv a away 2>/dev/null; ln -s ${secret} a; rm -f a; mv away a; rm -rf b; ln -s ../../../../${secret} b; rm -f b; done`;
    const command = ['sh', '-c', script];
    const swapper = await host.engine.createContainer({
      sandbox: sandbox.id,
      name: 'c',
      image: host.image,
      command,
      mounts,
    });
    await host.engine.startContainer(swapper.id);
    let refused = 0;
    for (let round = 0; round < 60; round += 1) {
      const place = join(host.options.runDirectory, `part-${round}`);
      const subPath = round % 2 === 0 ? 'a' : 'b/c';
      try {
        bindSubPath({ root: path, subPath, place, owner: 0, tree: { noSuid: true } });
        assert.equal(existsSync(join(place, 'file')), false, subPath);
        unmount(place);
      } catch (error) {
        if (!(error instanceof EngineError) || error.code !== 'invalid') throw error;
        refused += 1;
      }
      rmSync(place, { recursive: true, force: true });
      await setImmediate();
    }
    assert.ok(refused < 60, 'it was found in its place at times');
    assert.deepEqual(readdirSync(secret), ['file'], 'nothing was made there');
    await host.engine.removeSandbox(sandbox.id);
    await host.engine.diskVolumes.remove('swapped');
    rmSync(secret, { recursive: true });
  });

  test('files are replaced all at once: no reader sees two of different times', async () => {
    const sandbox = await host.engine.createSandbox({ name: 'files', hostname: 'f' });
    const filesOf = (value: string) =>
      ['a', 'deep/b'].map((path) => ({ path, content: Buffer.from(`${value}\n`), mode: 0o440, uid: 5 }));
    const files = {
      kind: 'files' as const,
      files: [...filesOf('0'), { path: 'gone', content: Buffer.from('') }],
      group: 7,
    };
    // What a reader has open goes when it is old: he may find less, never a mixture.
    const script = `
      stat -Lc "%u:%g %a" /f/a; readlink /f/a; cat /one
      until [ "$2" = 3 ]; do
        cd /f/..data; set -- $(cat a deep/b 2>/dev/null); cd /
        [ $# = 2 ] && [ $1 != $2 ] && echo torn $1 $2
      done
      ls /f; cat /one`;
    const { id } = await host.engine.createContainer({
      sandbox: sandbox.id,
      name: 'c',
      image: host.image,
      command: ['sh', '-c', script],
      mounts: [
        { ...files, target: '/f' },
        { ...files, target: '/one', subPath: 'a' },
      ],
    });
    await host.engine.startContainer(id);
    for (const value of ['1', '2', '3']) await host.engine.updateFiles(id, '/f', filesOf(value));
    await host.engine.waitContainer(id, { signal: AbortSignal.timeout(60_000) });
    assert.deepEqual(await logOf(id), ['5:7 440', '..data/a', '0', 'a', 'deep', '0']);
    await assert.rejects(
      host.engine.updateFiles(id, '/one', filesOf('4')),
      code('not-found', /no files mount at \/one/),
    );
    await host.engine.removeSandbox(sandbox.id);
  });
});
