/** `docker diff`, `commit` and `export`: what a container wrote, exactly. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { builderOf } from '#testing/build-context.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let base = '';
let directory = '';

const PREPARED = `
mkdir -p /gone/in /opaque/old /moved/in /same /parent/kept && chmod 1777 /same
echo 1 > /gone/in/file; echo 1 > /opaque/old/file; echo 1 > /opaque/other; echo 1 > /moved/in/file
echo 1 > /parent/deleted; echo 1 > /parent/kept/file; echo 1 > /changed; echo 1 > /mode; echo 1 > /tofile; mkdir /todirectory
`;
const CHANGES = `
set -e
rm -r /gone
rm -r /opaque && mkdir /opaque && echo 2 > /opaque/new
mv /moved /renamed
rm /parent/deleted
echo 2 > /changed
chmod 4711 /mode
rm -r /todirectory && echo file > /todirectory
rm /tofile && mkdir /tofile && echo 2 > /tofile/in
mkdir /new && echo x > /new/file && ln /new/file /new/hard && ln -s ../new /new/soft && chown 1000:2000 /new/file
mkfifo /new/fifo
dd if=/dev/zero of=/new/sparse bs=1 count=1 seek=10485760 2>/dev/null
echo "n\\303\\266n" > "/new/$(printf 'n\\303\\266n \\377')"
`;
const EXPECTED = `C /changed
D /gone
C /mode
D /moved
A /new
A /new/fifo
A /new/file
A /new/hard
A /new/n
A /new/soft
A /new/sparse
C /opaque
A /opaque/new
D /opaque/old
D /opaque/other
C /parent
D /parent/deleted
A /renamed
A /renamed/in
A /renamed/in/file
C /todirectory
C /tofile
A /tofile/in`;

describe('what a container wrote, by the docker client', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    directory = mkdtempSync(join(tmpdir(), 'written-'));
    const lines = PREPARED.trim().split('\n').join('; ');
    await builderOf(docker).ok({ Dockerfile: `FROM ${docker.host.image}\nRUN ${lines}\n` }, '-t', 'prepared:1');
    base = 'prepared:1';
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  test('nothing is nothing, of one that runs and of one that ended', async () => {
    await docker.ok('run', '-d', '--name', 'idle', base, 'sleep', '1000');
    assert.equal(await docker.ok('diff', 'idle'), '');
    await docker.ok('exec', 'idle', 'touch', '/tmp/made');
    assert.equal(await docker.ok('diff', 'idle'), 'C /tmp\nA /tmp/made\n');
    const since = String(Date.now() / 1000 - 0.001);
    await docker.ok('commit', 'idle', 'idle:1');
    const paused = async (): Promise<number> => {
      const told = await docker.ok(
        'events',
        '--since',
        since,
        '--until',
        String(Date.now() / 1000 + 0.3),
        '--filter',
        'container=idle',
      );
      return told.match(/container (un)?pause /g)?.length ?? 0;
    };
    assert.equal(await paused(), 2, 'it stood still meanwhile');
    assert.equal((await docker.ok('inspect', '-f', '{{.State.Status}}', 'idle')).trim(), 'running');
    await docker.ok('commit', '--pause=false', 'idle');
    assert.equal(await paused(), 2);
    await docker.ok('kill', 'idle');
    assert.equal(await docker.ok('diff', 'idle'), 'C /tmp\nA /tmp/made\n');
    await docker.ok('rm', 'idle');
    assert.match((await docker.docker(['diff', 'idle'])).stderr, /No such container: idle/);
  });

  test('diff, and the same again from a container of the committed image', async () => {
    await docker.ok('run', '--name', 'writer', base, 'sh', '-c', CHANGES);
    const lines = (await docker.ok('diff', 'writer'))
      .trim()
      .split('\n')
      .sort((a, b) => (a.slice(2) < b.slice(2) ? -1 : 1));
    assert.deepEqual(
      lines.map((line) => line.replace(/(\/new\/n)\S*n .*$/, '$1')),
      EXPECTED.split('\n'),
    );
    const id = (
      await docker.ok(
        'commit',
        '-m',
        'a message',
        '-a',
        'an author',
        '-c',
        'CMD ["cat", "/changed"]',
        '-c',
        'ENV COMMITTED=yes',
        'writer',
        'committed:1',
      )
    ).trim();
    assert.match(id, /^sha256:[0-9a-f]{64}$/);
    assert.equal(await docker.ok('run', '--rm', 'committed:1'), '2\n');
    assert.equal(
      (await docker.ok('image', 'inspect', '-f', '{{.Author}} {{.Comment}} {{json .Config.Env}}', id)).trim(),
      'an author a message ["PATH=/bin","FROM_IMAGE=yes","COMMITTED=yes"]',
    );
    assert.match(
      await docker.ok('history', '--no-trunc', '--format', '{{.CreatedBy}} {{.Comment}}', id),
      /^sh -c[^]*a message\n/,
    );
    const look = `
test ! -e /gone && test ! -e /moved && test ! -e /opaque/old && test ! -e /opaque/other && test ! -e /parent/deleted || echo "still there"
cat /opaque/new /renamed/in/file /parent/kept/file /todirectory /tofile/in
stat -c '%a %u %g %h' /mode /new/file /same
readlink /new/soft; stat -c '%F %s' /new/fifo /new/sparse; test "$(stat -c %b /new/sparse)" -lt 100 || echo dense
ls /new | tail -3 | head -1
`;
    assert.equal(
      await docker.ok('run', '--rm', 'committed:1', 'sh', '-c', look),
      '2\n1\n1\nfile\n2\n4711 0 0 1\n644 1000 2000 2\n1777 0 0 2\n../new\nfifo 0\nregular file 10485761\n' +
        (await docker.ok('run', '--rm', 'committed:1', 'sh', '-c', 'ls /new | tail -3 | head -1')),
    );
  });

  test('the same changes make the same layer', async () => {
    const diffIds: string[] = [];
    for (const name of ['same-1', 'same-2']) {
      await docker.ok(
        'run',
        '--name',
        name,
        base,
        'sh',
        '-c',
        'mkdir /d; for i in c a b; do echo $i > /d/$i; done; touch -d @1000 /d/* /d',
      );
      await docker.ok('commit', name, `${name}:1`);
      diffIds.push((await docker.ok('image', 'inspect', '-f', '{{json .RootFS.Layers}}', `${name}:1`)).trim());
    }
    assert.equal(diffIds[0], diffIds[1]);
  });

  test('a file capability and attributes go along', {
    skip: spawnSync('python3', ['-c', '1']).status !== 0 && 'no python3',
  }, async () => {
    await docker.ok('create', '--name', 'attributes', base, 'true');
    const container = docker.host.engine.containers().find(({ name }) => name === 'attributes');
    const rootfs = join(docker.host.options.runDirectory, 'engine/containers', container?.id ?? '', 'rootfs');
    const sandbox = docker.host.engine.sandbox(container?.sandbox ?? '');
    // As the kernel writes down what root of the container's namespace sets: version 3, with its id on the host.
    const program = `
import os, struct, sys
path, root = sys.argv[1] + '/mode', int(sys.argv[2])
os.setxattr(path, 'user.kept', b'value')
os.setxattr(path, 'security.capability', struct.pack('<IIIIII', 0x03000001, 0x400, 0, 0, 0, root))
`;
    execFileSync('python3', ['-c', program, rootfs, String(sandbox?.idRange.first ?? 0)]);
    await docker.ok('commit', 'attributes', 'attributes:1');
    const image = docker.host.engine.images.get('docker.io/library/attributes:1');
    assert.ok(image);
    const [top = ''] = await docker.host.engine.images.layerDirectories(image);
    const read = `
import os, sys
print(os.getxattr(sys.argv[1], 'user.kept').decode(), os.getxattr(sys.argv[1], 'security.capability').hex(), sorted(os.listxattr(sys.argv[1])))
`;
    assert.equal(
      execFileSync('python3', ['-c', read, join(top, 'mode')], { encoding: 'utf8' }),
      "value 0100000200040000000000000000000000000000 ['security.capability', 'user.kept']\n",
    );
  });

  test('export is the whole root file system, and what is imported again is the same', async () => {
    const archive = join(directory, 'export.tar');
    await docker.ok('export', '-o', archive, 'writer');
    const listing = execFileSync('tar', ['-tvf', archive, '--numeric-owner'], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    });
    assert.match(listing, /^-rwsr-xr-x 0\/0 .* bin\/busybox$|^-rwxr-xr-x 0\/0 .* bin\/busybox$/m);
    assert.match(listing, /^hrw-r--r-- 1000\/2000 .* new\/hard link to new\/file$/m);
    assert.match(listing, /^-rws--x--x 0\/0 .* mode$/m);
    assert.match(listing, /^drwxrwxrwt 0\/0 .* same\/$/m);
    assert.doesNotMatch(listing, /gone|moved|opaque\/old|\.wh\./);
    await docker.ok('import', archive, 'imported:1');
    assert.equal(await docker.ok('run', '--rm', 'imported:1', '/bin/cat', '/changed', '/parent/kept/file'), '2\n1\n');
  });

  test('a name that layers reserve is refused, and a link put in the way is not followed', async () => {
    await docker.ok('run', '--name', 'reserved', base, 'touch', '/.wh.changed');
    assert.match(
      (await docker.docker(['commit', 'reserved'])).stderr,
      /"\/\.wh\.changed" has a name that image layers reserve/,
    );
    const swap = 'mkdir /d; echo own > /d/shadow; while :; do mv /d /e; ln -s /etc /d; rm /d; mv /e /d; done';
    await docker.ok('run', '-d', '--name', 'racer', base, 'sh', '-c', swap);
    const host = spawnSync('head', ['-c', '100000', '/etc/shadow']).stdout;
    for (let round = 0; round < 15; round += 1) {
      const { promise, resolve } = Promise.withResolvers<Buffer>();
      const child = docker.spawn(['export', 'racer']);
      const chunks: Buffer[] = [];
      child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve(Buffer.concat(chunks)));
      assert.equal((await promise).indexOf(host), -1);
    }
    await docker.ok('rm', '-f', 'racer');
  });
});
