/** `docker cp`, both ways, and what a hostile container or archive makes of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { readTar } from '#lib/tar/read.ts';
import type { TarHeader } from '#lib/tar/tar.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let image = '';
let place = '';

const inside = async (name: string, ...command: string[]): Promise<string> =>
  (await docker.ok('exec', name, ...command)).trim();
const refusal = async (...words: string[]): Promise<string> => {
  const said = await docker.docker(words);
  assert.notEqual(said.code, 0, words.join(' '));
  return said.stderr.trim();
};

interface Answer {
  status: number;
  body: string;
  stat: string | undefined;
}

async function call(method: string, path: string, body?: Uint8Array): Promise<Answer> {
  const outgoing = request({ socketPath: docker.socketPath, method, path: `/v1.45${path}` });
  outgoing.on('error', () => {});
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  const stat = response.headers['x-docker-container-path-stat'];
  return { status: response.statusCode, body: await text(response), stat };
}

async function archive(...entries: (Partial<TarHeader> & { name: string; text?: string })[]): Promise<Buffer> {
  const inputs = entries.map(({ text: content = '', ...entry }): TarInput => {
    const data = Buffer.from(content);
    return { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1000, sizeBytes: data.length, data, ...entry };
  });
  return Buffer.concat(await Array.fromAsync(writeTar(inputs)));
}

async function put(name: string, path: string, bytes: Uint8Array, query = ''): Promise<Answer> {
  return await call('PUT', `/containers/${name}/archive?path=${encodeURIComponent(path)}${query}`, bytes);
}

describe('docker cp', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
    place = mkdtempSync(join(tmpdir(), 'cp-'));
    chmodSync(place, 0o755);
    const flags = ['--name', 'box', '-v', 'kept:/vol', '--tmpfs', '/scratch:exec'];
    await docker.ok('run', '-d', ...flags, image, 'sleep', '1000');
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    rmSync(place, { recursive: true, force: true });
  });

  test('files, directories and links come out as they are', async () => {
    const script = [
      'mkdir -p /data/sub && echo hello > /data/file && chmod 640 /data/file && chown 1000:2000 /data/file',
      'ln -s file /data/link && ln /data/file /data/sub/again && mkfifo /data/pipe && ln -s /data /way',
    ].join(' && ');
    await inside('box', 'sh', '-c', script);
    await docker.ok('cp', 'box:/data', place);
    assert.equal(readFileSync(join(place, 'data/file'), 'utf8'), 'hello\n');
    assert.equal(statSync(join(place, 'data/file')).mode & 0o777, 0o640);
    assert.equal(readlinkSync(join(place, 'data/link')), 'file');
    assert.equal(statSync(join(place, 'data/file')).ino, statSync(join(place, 'data/sub/again')).ino);
    await docker.ok('cp', 'box:/data/.', join(place, 'contents'));
    assert.deepEqual(readdirSync(join(place, 'contents')).sort(), ['file', 'link', 'pipe', 'sub']);
    await docker.ok('cp', '-L', 'box:/data/link', join(place, 'followed'));
    assert.equal(readFileSync(join(place, 'followed'), 'utf8'), 'hello\n');
    await docker.ok('cp', 'box:/way', join(place, 'kept-link'));
    assert.equal(readlinkSync(join(place, 'kept-link')), '/data');
    const entries = new Map<string, TarHeader>();
    const { archive: stream } = await docker.host.engine.readArchive(await idOf('box'), '/data');
    for await (const entry of readTar(stream)) entries.set(entry.name, entry);
    assert.deepEqual([entries.get('data/file')?.uid, entries.get('data/file')?.gid], [1000, 2000]);
    assert.deepEqual([entries.get('data')?.uid, entries.get('data/pipe')?.type], [0, 'fifo']);
    const names: string[] = [];
    const whole = await docker.host.engine.readArchive(await idOf('box'), '/');
    for await (const { name } of readTar(whole.archive)) names.push(name);
    assert.ok(names.some((name) => name.endsWith('etc/passwd')));
    assert.ok(!names.some((name) => /proc\/\d|sys\/kernel|dev\/null/.test(name)));
  });

  test('files go in, with their owners, into volumes and memory too', async () => {
    mkdirSync(join(place, 'in/sub'), { recursive: true });
    writeFileSync(join(place, 'in/sub/file'), 'from outside\n', { mode: 0o600 });
    symlinkSync('sub/file', join(place, 'in/link'));
    for (const target of ['/tmp/in', '/vol/in', '/scratch/in']) {
      await docker.ok('cp', join(place, 'in'), `box:${target}`);
      assert.equal(await inside('box', 'cat', `${target}/link`), 'from outside');
      assert.equal(await inside('box', 'stat', '-c', '%u %g %a', `${target}/sub/file`), '0 0 600');
    }
    const bytes = await archive({ name: 'mine', text: 'x', uid: 1000, gid: 1000 }, { name: 'new/dir/deep', text: 'y' });
    for (const target of ['/tmp', '/vol', '/scratch']) {
      assert.equal((await put('box', target, gzipSync(bytes))).status, 200);
      assert.equal(await inside('box', 'stat', '-c', '%u %g', `${target}/mine`), '1000 1000');
      assert.equal(await inside('box', 'stat', '-c', '%u %Y', `${target}/new/dir/deep`), '0 1000');
    }
    const streamed = await docker.docker(['cp', '-', 'box:/tmp'], bytes.toString('latin1'));
    assert.equal(streamed.code, 0, streamed.stderr);
    await docker.ok('exec', '--user', '1000', 'box', 'sh', '-c', 'echo more >> /vol/mine');
  });

  test('of a container that does not run, its volumes too', async () => {
    await docker.ok('create', '--name', 'still', '-v', 'kept:/vol', '-v', '/fresh/own', image, 'cat', '/vol/late');
    assert.equal((await put('still', '/vol', await archive({ name: 'late', text: 'in time\n' }))).status, 200);
    assert.equal((await put('still', '/fresh/own', await archive({ name: 'x', text: 'x' }))).status, 200);
    await docker.ok('cp', 'still:/vol/late', join(place, 'late'));
    assert.equal(readFileSync(join(place, 'late'), 'utf8'), 'in time\n');
    await docker.ok('cp', 'still:/etc/hostname', join(place, 'hostname'));
    assert.equal(await docker.ok('start', '-a', 'still'), 'in time\n');
    await docker.ok('cp', 'still:/fresh/own/x', join(place, 'x'));
    assert.ok(!existsSync(join('/', 'vol', 'late')));
    await docker.ok('rm', '-v', 'still');
  });

  test('what is read-only stays so', async () => {
    const flags = ['--name', 'sealed', '--read-only', '-v', 'kept:/ro:ro', '-v', 'kept:/rw', '--tmpfs', '/scratch'];
    await docker.ok('create', ...flags, image, 'sleep', '1000');
    const bytes = await archive({ name: 'sealed-file', text: 'x' });
    for (const state of ['created', 'running']) {
      if (state === 'running') await docker.ok('start', 'sealed');
      for (const [path, message] of [
        ['/tmp', /container rootfs is marked read-only/],
        ['/ro', /mounted volume is marked read-only/],
      ] as const) {
        const { status, body } = await put('sealed', path, bytes);
        assert.equal(status, 403, `${state} ${path} ${body}`);
        assert.match(body, message);
      }
      assert.equal((await put('sealed', '/rw', bytes)).status, 200);
    }
    assert.match(await refusal('cp', join(place, 'in'), 'sealed:/tmp'), /read-only/);
    assert.equal((await put('sealed', '/scratch', bytes)).status, 200);
    await docker.ok('rm', '-f', 'sealed');
  });

  test('the path’s own errors, kinds and owners', async () => {
    assert.match(await refusal('cp', 'box:/none', place), /Could not find the file \/none in container box/);
    assert.match(await refusal('cp', 'box:/proc/self/environ', place), /Could not find the file/);
    assert.match(await refusal('cp', 'none:/x', place), /No such container: none/);
    assert.equal((await call('GET', '/containers/box/archive')).status, 400);
    assert.equal((await call('HEAD', '/containers/box/archive?path=/none')).status, 404);
    assert.match((await put('box', '/etc/passwd', await archive({ name: 'x' }))).body, /not a directory/);
    assert.equal((await put('box', '/missing', await archive({ name: 'x' }))).status, 404);
    const { stat = '' } = await call('HEAD', '/containers/box/archive?path=/way');
    const view = JSON.parse(Buffer.from(stat, 'base64').toString()) as Record<string, unknown>;
    assert.deepEqual([view['name'], view['linkTarget'], view['mode']], ['way', '/data', 2 ** 27 + 0o777]);
    const swap = await archive({ name: 'data', text: 'a file now' });
    const kept = await put('box', '/', swap, '&noOverwriteDirNonDir=1');
    assert.match(kept.body, /cannot overwrite directory \\"data\\" with non-directory/);
    assert.equal((await put('box', '/', swap)).status, 200);
    assert.equal(await inside('box', 'cat', '/data'), 'a file now');
    await docker.ok('run', '-d', '--name', 'user', '--user', '1000:1000', image, 'sleep', '1000');
    assert.equal((await put('user', '/tmp', await archive({ name: 'own', uid: 7 }), '&copyUIDGID=1')).status, 200);
    assert.equal(await inside('user', 'stat', '-c', '%u %g', '/tmp/own'), '1000 1000');
    const far = await put('user', '/tmp', await archive({ name: 'far', uid: 70_000 }));
    assert.match(far.body, /Container ID 70000 cannot be mapped to a host ID/);
    await docker.ok('rm', '-f', 'user');
  });

  test('a hostile archive stays in the container', async () => {
    for (const [entries, message] of [
      [[{ name: '../out' }], /leads out of the archive/],
      [[{ name: 'a/../../out' }], /leads out of the archive/],
      [[{ name: 'hard', type: 'hard-link', linkName: '../../etc/shadow' }], /leads out of the archive/],
      [[{ name: 'hard', type: 'hard-link', linkName: 'nothing' }], /cannot be made/],
    ] as const) {
      const { status, body } = await put('box', '/tmp', await archive(...entries));
      assert.equal(status, 400, body);
      assert.match(body, message);
    }
    assert.match((await put('box', '/tmp', Buffer.alloc(2048, 7))).body, /is no octal number/);
    // Through links that the archive brings: they lead inside, as they would for the container itself.
    const climbing = await archive(
      { name: 'up', type: 'symlink', linkName: '../../../../../../..' },
      { name: `up${place}-escaped`, text: 'x' },
      { name: 'root', type: 'symlink', linkName: '/' },
      { name: `root${place}-escaped-too`, text: 'x' },
      { name: 'null', type: 'character-device', deviceMajor: 1, deviceMinor: 3 },
    );
    assert.equal((await put('box', '/tmp', climbing)).status, 200);
    assert.ok(!existsSync(`${place}-escaped`) && !existsSync(`${place}-escaped-too`));
    assert.equal(await inside('box', 'cat', `${place}-escaped`, `${place}-escaped-too`), 'xx');
    assert.equal(await inside('box', 'sh', '-c', 'test -e /tmp/null || echo none'), 'none');
  });

  test('a container that swaps directories for links leads nobody to the host', async () => {
    const secret = join(place, 'secret');
    mkdirSync(secret);
    writeFileSync(join(secret, 'file'), 'of the host');
    // In the container the same path is its own; on the host it is the secret one.
    const script = `mkdir -p ${secret} /race/real; echo of the container > ${secret}/file; echo of the container > /race/real/file; cd /race;
      while :; do ln -s ${secret} at; rm at; mv real at; mv at real; done`;
    await docker.ok('run', '-d', '--name', 'racer', image, 'sh', '-c', script);
    const id = await idOf('racer');
    const { engine } = docker.host;
    let read = 0;
    let written = 0;
    for (let round = 0; round < 100; round += 1) {
      try {
        const { archive: stream } = await engine.readArchive(id, round % 2 === 0 ? '/race/at/file' : '/race');
        for await (const entry of readTar(stream)) {
          const content = Buffer.concat(await Array.fromAsync(entry.data())).toString();
          assert.ok(!content.includes('of the host'), entry.name);
          read += 1;
        }
      } catch (error) {
        assert.match(String(error), /Could not find|changed|not-found|ENOENT|ENOTDIR|ELOOP/);
      }
      const bytes = await archive({ name: `at/made-${round}`, text: 'x' });
      await engine
        .writeArchive(
          id,
          '/race',
          (async function* () {
            yield bytes;
          })(),
        )
        .then(
          () => (written += 1),
          (error: unknown) => assert.match(String(error), /cannot be unpacked|cannot overwrite/),
        );
      assert.deepEqual(readdirSync(secret), ['file']);
    }
    assert.ok(read > 0 && written > 0, `${read} read, ${written} written`);
    assert.equal(readFileSync(join(secret, 'file'), 'utf8'), 'of the host');
    await docker.ok('rm', '-f', 'racer');
  });
});

async function idOf(name: string): Promise<string> {
  return (await docker.ok('inspect', '-f', '{{.Id}}', name)).trim();
}
