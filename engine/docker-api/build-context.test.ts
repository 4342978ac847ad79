/** What `docker build` copies: from contexts of every kind, also hostile ones. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { type Builder, builderOf, dockerWith, makeContext } from '#testing/build-context.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let builder: Builder;
let image = '';
let server: Server;
let address = '';
const served = new Map<string, Buffer>();

const file = (name: string, text: string, more: Partial<TarInput> = {}): TarInput => {
  const data = Buffer.from(text);
  return { name, type: 'file', mode: 0o644, uid: 5, gid: 5, sizeBytes: data.length, mtimeSeconds: 1000, data, ...more };
};
const entry = (name: string, type: TarInput['type'], more: Partial<TarInput> = {}): TarInput => ({
  name,
  type,
  mode: 0o755,
  uid: 5,
  gid: 5,
  sizeBytes: 0,
  mtimeSeconds: 1000,
  ...more,
});

async function archive(...entries: TarInput[]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(writeTar(entries)));
}

/** The API itself: what no client of good will sends. */
async function post(
  path: string,
  body: Buffer,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> {
  const outgoing = request({ socketPath: docker.socketPath, path, method: 'POST', headers });
  outgoing.on('error', () => undefined);
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [import('node:http').IncomingMessage];
  const chunks: Buffer[] = await response.toArray();
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() };
}

async function run(name: string, command: string): Promise<string> {
  return await docker.ok('run', '--rm', name, 'sh', '-c', command);
}

describe('contexts of docker build', { ...withDocker, timeout: 300_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    builder = builderOf(docker);
    image = docker.host.image;
    server = createServer((incoming, response) => {
      const body = served.get(incoming.url ?? '');
      response.writeHead(body === undefined ? 404 : 200, { 'last-modified': new Date(2_000_000).toUTCString() });
      response.end(body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.close();
    await docker[Symbol.asyncDispose]();
  });

  test('where files go: directories, patterns, links of the context and of the image', async () => {
    const dockerfile = `FROM ${image}
RUN mkdir -p /real/there && ln -s /real /link && ln -s there /real/inner && ln -s ../../../../real /root/out && chmod 1777 /real && chown 1000:1000 /real
COPY one /file
COPY one /dir/
COPY one dir/*.txt dir/[ab]? /many/
COPY dir /contents
COPY one /link/inner/
COPY dir /root/out/
COPY link /followed
COPY tree /tree
COPY . /whole/
`;
    const context = makeContext({
      Dockerfile: dockerfile,
      one: '1',
      'dir/x.txt': 'x',
      'dir/a1': 'a',
      'dir/c1': 'c',
      'dir/sub/deep': 'd',
      'tree/file': 't',
      hidden: 'no',
      '.dockerignore': '# comment\nhidden\n**/deep\n!dir/kept\nDockerfile\n.dockerignore\n',
    });
    symlinkSync('one', join(context, 'link'));
    symlinkSync('/etc/passwd', join(context, 'tree/absolute'));
    symlinkSync('../../..', join(context, 'tree/up'));
    chmodSync(join(context, 'tree/file'), 0o751);
    await docker.ok('build', '-t', 'copy:1', context);
    const found = await run('copy:1', 'find /file /dir /many /contents /real /followed /tree /whole | sort');
    assert.equal(
      found,
      `/contents /contents/a1 /contents/c1 /contents/sub /contents/x.txt /dir /dir/one /file /followed /many /many/a1 /many/one /many/x.txt /real /real/a1 /real/c1 /real/inner /real/sub /real/there /real/there/one /real/x.txt /tree /tree/absolute /tree/file /tree/up /whole /whole/dir /whole/dir/a1 /whole/dir/c1 /whole/dir/sub /whole/dir/x.txt /whole/link /whole/one /whole/tree /whole/tree/absolute /whole/tree/file /whole/tree/up`
        .split(' ')
        .join('\n') + '\n',
    );
    assert.equal(
      await run(
        'copy:1',
        "stat -c '%a %u %g' /real /file /tree/file; readlink /tree/absolute; readlink /tree/up; cat /followed",
      ),
      '1777 1000 1000\n644 0 0\n751 0 0\n/etc/passwd\n../../..\n1',
    );
    rmSync(context, { recursive: true });
    const refused: [string, RegExp][] = [
      [`FROM ${image}\nCOPY dir /etc/passwd\n`, /cannot make directory|cannot copy to non-directory/],
      [`FROM ${image}\nCOPY . /\n`, /cannot copy to non-directory/],
    ];
    for (const [text, expected] of refused) {
      const said = await builder.build({ Dockerfile: text, 'dir/etc': 'x', etc: 'file over a directory' });
      assert.match(said.stderr, expected);
    }
  });

  test('ADD opens archives of the context, and none that it fetches', async () => {
    const plain = await archive(
      entry('top', 'directory', { mode: 0o700 }),
      file('top/own', 'text', { uid: 1000, gid: 2000, mode: 0o640 }),
      entry('top/link', 'symlink', { linkName: 'own' }),
      entry('top/hard', 'hard-link', { linkName: 'top/own' }),
    );
    const context = makeContext({ Dockerfile: '', 'text.gz': 'not compressed at all' });
    const filters: [string, string[]][] = [
      ['gz', ['gzip']],
      ['bz2', ['bzip2']],
      ['xz', ['xz']],
      ['zst', ['zstd', '-q']],
    ];
    const write = (name: string, bytes: Buffer): void =>
      execFileSync('sh', ['-c', 'cat > "$1"', 'sh', join(context, name)], { input: bytes }) as unknown as void;
    write('plain.tar', plain);
    for (const [name, [program = '', ...words]] of filters) {
      write(`a.${name}`, execFileSync(program, [...words, '--stdout'], { input: plain }));
    }
    served.set('/archive.tar', plain);
    served.set('/sub/name.txt', Buffer.from('fetched'));
    write(
      'Dockerfile',
      Buffer.from(`FROM ${image}
ADD plain.tar /plain/
ADD a.gz /gz
ADD a.bz2 /bz2
ADD a.xz /xz
ADD --chown=app a.zst /zst
ADD text.gz /text/
COPY plain.tar /copied/
ADD ${address}/archive.tar /fetched/
ADD ${address}/sub/name.txt /name/
ADD ${address}/sub/name.txt /renamed
`),
    );
    await docker.ok('build', '-t', 'add:1', context);
    assert.equal(
      await run(
        'add:1',
        "for i in plain gz bz2 xz zst; do stat -c '%u %g %a %h' /$i/top/hard; done; cat /gz/top/link /text/text.gz /name/name.txt; stat -c '%a %u %Y' /renamed; ls /fetched /copied",
      ),
      '1000 2000 640 2\n1000 2000 640 2\n1000 2000 640 2\n1000 2000 640 2\n1000 1000 640 2\n' +
        'textnot compressed at allfetched600 0 2000\n/copied:\nplain.tar\n\n/fetched:\narchive.tar\n',
    );
    const again = await docker.ok('build', context);
    assert.equal(again.match(/Using cache/g)?.length, 10);
    served.set('/sub/name.txt', Buffer.from('changed'));
    assert.equal((await docker.ok('build', context)).match(/Using cache/g)?.length, 8);
    const gone = await builder.build({ Dockerfile: `FROM ${image}\nADD ${address}/none /x\n` });
    assert.match(gone.stderr, /it answers 404/);
    rmSync(context, { recursive: true });
  });

  test('Dockerfile and context by other ways', async () => {
    const dockerfile = `FROM ${image}\nCOPY file /\nRUN cat /file\n`;
    const alone = await docker.docker(['build', '-t', 'alone:1', '-'], `FROM ${image}\nRUN echo alone > /x\n`);
    assert.equal(alone.code, 0, alone.stderr);
    const tar = await archive(file('sub/Other', dockerfile), file('file', 'by tar'));
    for (const [program, ...words] of [['cat'], ['gzip'], ['bzip2'], ['xz'], ['zstd', '-q']]) {
      const input = program === 'cat' ? tar : execFileSync(program ?? '', [...words, '--stdout'], { input: tar });
      const said =
        program === 'zstd'
          ? (await post('/build?dockerfile=sub%2FOther', input)).text
          : ((said) => said.stdout + said.stderr + said.code)(
              await dockerWith(docker, ['build', '-f', 'sub/Other', '-'], input),
            );
      assert.match(said, /Successfully built/, `${program} ${said}`);
    }
    const context = makeContext({ file: 'by directory' });
    const piped = await docker.docker(['build', '-f', '-', context], dockerfile);
    assert.match(piped.stdout, /Successfully built/, piped.stderr);
    rmSync(context, { recursive: true });
    served.set('/context.tgz', execFileSync('gzip', ['--stdout'], { input: tar }));
    served.set('/Dockerfile', Buffer.from(`FROM ${image}\nRUN echo from an address\n`));
    const remote = async (path: string, more = ''): Promise<string> =>
      (await post(`/build?remote=${encodeURIComponent(path)}${more}`, Buffer.alloc(0))).text;
    assert.match(await remote(`${address}/context.tgz`, '&dockerfile=sub%2FOther'), /Successfully built/);
    assert.match(await remote(`${address}/Dockerfile`), /from an address/);
    assert.match(await remote('https://github.com/a/b.git'), /is a git repository, which this engine does not clone/);
    assert.match(await remote(`${address}/nothing`), /it answers 404/);
  });

  test('hostile contexts are refused by name, and reach nothing', async () => {
    const dockerfile = file('Dockerfile', `FROM ${image}\nCOPY . /in/\n`);
    const cases: [string, TarInput[], RegExp][] = [
      ['a path that leads out', [file('../out', 'x')], /"\.\.\/out\\" leads out of the archive|leads out/],
      [
        'a device',
        [entry('dev', 'character-device', { deviceMajor: 1, deviceMinor: 1 })],
        /dev.* is a character-device: only files, directories and links/,
      ],
      ['a fifo', [entry('pipe', 'fifo')], /is a fifo/],
      ['a hard link out', [entry('link', 'hard-link', { linkName: '../../etc/passwd' })], /leads out/],
      ['a hard link to nothing', [entry('link', 'hard-link', { linkName: 'none' })], /is no file before it/],
      ['something below a file', [file('a', '1'), file('a/b', '2')], /lies below something that is no directory/],
      ['a reserved name', [file('.wh.etc', '')], /has a name that image layers reserve/],
      ['a link without a target', [entry('l', 'symlink', { linkName: '' })], /has no usable target/],
    ];
    for (const [what, entries, expected] of cases) {
      const { status, text } = await post('/build?forcerm=1', await archive(dockerfile, ...entries));
      assert.match(text, expected, what);
      assert.ok(status === 400 || text.includes('errorDetail'), what);
    }
    // Links are text: read inside the context, or copied as they are, and what they name on this host is not there.
    const linked = await post(
      '/build?t=linked:1',
      await archive(
        file('Dockerfile', `FROM ${image}\nCOPY out/passwd /a\n`),
        entry('out', 'symlink', { linkName: '/etc' }),
      ),
    );
    assert.match(linked.text, /file not found in build context/);
    const dockerfileLink = await post(
      '/build',
      await archive(entry('Dockerfile', 'symlink', { linkName: '/etc/passwd' })),
    );
    assert.match(dockerfileLink.text, /Cannot locate specified Dockerfile: Dockerfile/);
    const circle = await post(
      '/build',
      await archive(
        file('Dockerfile', `FROM ${image}\nCOPY a /a\n`),
        entry('a', 'symlink', { linkName: 'b' }),
        entry('b', 'symlink', { linkName: 'a' }),
      ),
    );
    assert.match(circle.text, /goes through more than 40 symbolic links/);
    for (const [body, expected] of [
      [Buffer.from('no archive at all'.padEnd(2000, '.')), /no tar archive|checksum|octal/],
      [(await archive(dockerfile)).subarray(0, 520), /truncated/],
      [execFileSync('gzip', ['--stdout'], { input: await archive(dockerfile) }).subarray(0, 60), /damaged|truncated/],
      [Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), Buffer.alloc(100)]), /xz data are damaged/],
      [Buffer.alloc(0), /Cannot locate specified Dockerfile/],
    ] as [Buffer, RegExp][]) {
      const { status, text } = await post('/build', body);
      assert.match(text, expected);
      assert.equal(status, 400);
    }
    assert.equal(await docker.ok('ps', '-aq'), '');
  });

  test("BuildKit's requests, and what a query cannot say", async () => {
    for (const path of ['/session', '/grpc', '/build?version=2', '/build?remote=client-session'])
      assert.match(
        (await post(path, Buffer.alloc(0))).text,
        /^\{"message":"BuildKit's API is not implemented.* DOCKER_BUILDKIT=0/,
      );
    const upgrade = await post('/session', Buffer.alloc(0), { connection: 'Upgrade', upgrade: 'h2c' });
    assert.equal(upgrade.status, 501);
    for (const [query, expected] of [
      ['t=UPPER', /upper case|not well-formed/],
      ['buildargs=%7B', /error reading buildargs/],
      ['buildargs=%7B%22a%22%3A1%7D', /buildargs: \\"a\\" is no string/],
      ['labels=%5B%5D', /labels: it is no JSON object/],
      ['memory=x', /memory: .*no whole number/],
      ['memswap=5', /always set the Memory limit/],
      ['cpusetcpus=a', /cpuset/],
      ['dockerfile=..%2Fx', /forbidden path outside the build context/],
      ['platform=windows', /platform/],
      ['extrahosts=a', /extrahosts/],
      ['ulimits=%5B%7B%22Name%22%3A5%7D%5D', /Name/],
    ] as [string, RegExp][]) {
      const { text } = await post(
        `/build?forcerm=1&${query}`,
        await archive(file('Dockerfile', `FROM ${image}\nRUN true\n`)),
      );
      assert.match(text, expected, query);
    }
    assert.equal(await docker.ok('ps', '-aq'), '');
  });
});
