/**
 * Files by Debian's own `sftp` and `scp`, and by clients that are not well. The shell runs on this machine as nobody, in a directory of its own,
 * instead of in a container; `test/change.test.ts` has the whole.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import ssh2, { type ClientChannel } from 'ssh2';
import type { PodExecOptions, PodExecSession } from '#cluster/client/client.ts';
import { scp, sftp } from '#testing/openssh.ts';
import { execHere, openProxy, USER } from '../ssh.fixture.ts';
import type { SshProxy } from '../ssh.ts';
import { REQUEST } from './packets.ts';
import { MOST_HANDLES, STATUS } from './sftp.ts';

const NOBODY = 65_534;
const NAMES = ['plain', 'two words', "it's", '$(id)', 'back\\slash', 'new\nline', '-dash', 'über', '.hidden', '*'];

const directory = mkdtempSync(join(tmpdir(), 'sampan-sftp-'));
const [there, here] = [join(directory, 'there'), join(directory, 'here')];
let proxy: SshProxy;
let exec: (options: PodExecOptions) => PodExecSession;

const asNobody = (options: PodExecOptions) => execHere(options, { uid: NOBODY, gid: NOBODY, cwd: there });

before(async () => {
  chmodSync(directory, 0o755);
  proxy = await openProxy({ exec: (options) => exec(options), redeem: (code) => code === 'right' });
});
beforeEach(() => {
  exec = asNobody;
  for (const path of [there, here]) {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
  }
  chownSync(there, NOBODY, NOBODY);
});
after(async () => {
  await proxy?.close();
  rmSync(directory, { recursive: true, force: true });
});

const door = () => ({ port: proxy.port, user: USER, code: 'right', directory: join(directory, 'client') });

/** Everything below: names, modes, whole seconds, contents. */
function tree(path: string): string[] {
  return readdirSync(path)
    .sort()
    .flatMap((name) => {
      const whole = join(path, name);
      const { mode, mtimeMs } = lstatSync(whole);
      const line = `${JSON.stringify(name)} ${mode.toString(8)}`;
      if (statSync(whole).isDirectory()) return [line, ...tree(whole).map((one) => `  ${one}`)];
      const digest = createHash('sha256').update(readFileSync(whole)).digest('hex');
      return [`${line} ${Math.floor(mtimeMs / 1000)} ${digest}`];
    });
}

function plant(path: string, names: readonly string[]): void {
  mkdirSync(join(path, 'deep', 'deeper'), { recursive: true });
  for (const [index, name] of names.entries()) {
    const file = join(path, 'deep', name);
    writeFileSync(file, `${name} ${index}\0\n`);
    utimesSync(file, 1_000_000_000, 1_100_000_000 + index);
  }
  writeFileSync(join(path, 'large'), Buffer.alloc(3_000_001, 'sixteen bytes of it'));
  writeFileSync(join(path, 'empty'), '');
  writeFileSync(join(path, 'deep', 'deeper', 'read-only'), 'nobody writes here', { mode: 0o444 });
  writeFileSync(join(path, 'deep', 'deeper', 'script'), '#!/bin/sh\n', { mode: 0o755 });
}

function roundTrip(names: readonly string[]): void {
  test('scp takes a whole tree there and back: any name, mode, time and content', async () => {
    plant(here, names);
    const up = await scp(['-r', '-p', `${here}/.`, `:up`], door());
    assert.equal(up.code, 0, up.stderr);
    assert.deepEqual(tree(join(there, 'up')), tree(here));
    const back = join(directory, 'client', 'back');
    rmSync(back, { recursive: true, force: true });
    const down = await scp(['-r', '-p', ':up', back], door());
    assert.equal(down.code, 0, down.stderr);
    assert.deepEqual(tree(back), tree(here));
  });
}

describe('with the programs of the stack', { concurrency: 1 }, () => {
  roundTrip(NAMES);

  test('sftp: everyday commands', async () => {
    writeFileSync(join(here, 'note'), 'hello');
    const done = await sftp(
      [
        'pwd',
        'mkdir a',
        `put ${here}/note a/note`,
        'rename a/note a/other',
        'symlink other a/link',
        'ln a/other a/hard',
        'chmod 600 a/other',
        'ls -l a',
        `get a/link ${here}/got`,
        'rm a/link',
        'rm a/hard',
        'rm a/other',
        'rmdir a',
      ],
      door(),
    );
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, new RegExp(`Remote working directory: ${there}`));
    assert.match(done.stdout, /^-rw------- +\? +65534 +65534 +5 \w{3} +\d+ \d\d:\d\d (a\/)?other$/m);
    assert.match(done.stdout, /^lrwxrwxrwx .* (a\/)?link$/m);
    assert.equal(readFileSync(join(here, 'got'), 'utf8'), 'hello');
    assert.deepEqual(readdirSync(there), []);
  });

  test('what the app may not do is refused in words, and changes nothing', async () => {
    mkdirSync(join(there, 'full', 'inner'), { recursive: true });
    writeFileSync(join(there, 'kept'), 'kept');
    writeFileSync(join(there, 'secret'), 'of root', { mode: 0o600 });
    writeFileSync(join(here, 'note'), 'hello');
    for (const [line, words] of [
      ['get missing', /not found|No such file/],
      ['get secret', /Permission denied/],
      [`put ${here}/note /etc/never`, /Permission denied/],
      [`put ${here}/note kept`, /Permission denied/],
      [`put ${here}/note missing/note`, /No such file/],
      ['rm full', /Failure|directory/i],
      ['rmdir full', /Permission denied|Failure|not empty/i],
      ['mkdir full', /Failure|exists/i],
      ['chmod 777 kept', /Permission denied/],
      ['ls /root', /Permission denied|not found/],
      ['rename missing other', /No such file/],
    ] as const) {
      const { code, stdout, stderr } = await sftp([line], door());
      assert.notEqual(code, 0, line);
      assert.match(`${stdout}${stderr}`, words, line);
    }
    assert.equal(readFileSync(join(there, 'kept'), 'utf8'), 'kept');
    assert.ok(!existsSync('/etc/never'));
  });

  test('a link that leads elsewhere is followed with the rights of the app, and a pipe is not waited for', async () => {
    symlinkSync('/etc/shadow', join(there, 'shadow'));
    symlinkSync('/etc/passwd', join(there, 'passwd'));
    execFileSync('mkfifo', [join(there, 'pipe')]);
    chownSync(join(there, 'pipe'), NOBODY, NOBODY);
    assert.match((await sftp([`get shadow ${here}/x`], door())).stderr, /Permission denied/);
    assert.equal((await sftp([`get passwd ${here}/x`], door())).code, 0);
    assert.equal(readFileSync(join(here, 'x'), 'utf8'), readFileSync('/etc/passwd', 'utf8'));
    const wire = await Wire.open();
    const opened = await wire.ask(REQUEST.open, 7, string('pipe'), u32(1), u32(0));
    assert.deepEqual([opened.status, opened.message], [STATUS.failure, 'Not a regular file']);
    wire.close();
  });
});

describe('with the programs of busybox', { concurrency: 1 }, () => {
  const applets = join(directory, 'applets');
  before(() => {
    mkdirSync(applets);
    chmodSync(applets, 0o755);
    spawnSync('busybox', ['--install', '-s', applets]);
  });
  beforeEach(() => {
    exec = (options) =>
      asNobody({ ...options, command: ['env', `PATH=${applets}`, ...options.command.with(0, join(applets, 'sh'))] });
  });
  // Its listings end each name with a newline.
  roundTrip(NAMES.filter((name) => !name.includes('\n')));
});

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = (value: number): Buffer => Buffer.concat([u32(Math.floor(value / 2 ** 32)), u32(value >>> 0)]);
const string = (value: string | Buffer): Buffer => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);
const packet = (...parts: Buffer[]): Buffer => string(Buffer.concat(parts));
const byte = (value: number): Buffer => Buffer.from([value]);

/** A channel with the subsystem, its packets taken one by one. */
class Wire {
  readonly #client: ssh2.Client;
  readonly #channel: ClientChannel;
  readonly #chunks: AsyncIterator<Buffer>;
  #have = Buffer.alloc(0);

  constructor(client: ssh2.Client, channel: ClientChannel) {
    this.#client = client;
    this.#channel = channel;
    this.#chunks = channel.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  }

  /** The first packets are exchanged. */
  static async open(): Promise<Wire> {
    const client = new ssh2.Client();
    client.on('error', () => undefined);
    const ready = new Promise<void>((done, fail) => client.once('ready', done).once('error', fail));
    client.connect({ host: '127.0.0.1', port: proxy.port, username: USER, password: 'right' });
    await ready;
    const channel = await new Promise<ClientChannel>((done, fail) =>
      client.subsys('sftp', (error, opened) => (error ? fail(error) : done(opened))),
    );
    const wire = new Wire(client, channel);
    wire.write(packet(byte(REQUEST.init), u32(3)));
    const version = await wire.next();
    assert.deepEqual([version[0], version.readUInt32BE(1)], [2, 3]);
    return wire;
  }

  write(bytes: Buffer): void {
    this.#channel.write(bytes);
  }

  async next(): Promise<Buffer> {
    return await this.#take((await this.#take(4)).readUInt32BE(0));
  }

  async ask(type: number, id: number, ...parts: Buffer[]) {
    this.write(packet(byte(type), u32(id), ...parts));
    const answer = await this.next();
    assert.equal(answer.readUInt32BE(1), id);
    const text = (at: number): string => answer.toString('utf8', at + 4, at + 4 + answer.readUInt32BE(at));
    const isStatus = answer[0] === 101;
    return {
      type: answer[0],
      status: isStatus ? answer.readUInt32BE(5) : undefined,
      message: isStatus ? text(9) : '',
      handle: answer[0] === 102 ? text(5) : '',
    };
  }

  /** Resolves when the server has ended it. */
  async ended(): Promise<void> {
    while (!(await this.#chunks.next()).done);
    this.close();
  }

  close(): void {
    this.#client.end();
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#have.length < length) {
      const { done, value } = await this.#chunks.next();
      assert.ok(!done, 'the channel has ended');
      this.#have = Buffer.concat([this.#have, value as Buffer]);
    }
    const taken = this.#have.subarray(0, length);
    this.#have = this.#have.subarray(length);
    return taken;
  }
}

describe('clients and containers that are not well', { concurrency: 1 }, () => {
  test('requests that make no sense are refused one by one', async () => {
    const wire = await Wire.open();
    const statusOf = async (type: number, ...parts: Buffer[]) => (await wire.ask(type, 1, ...parts)).status;
    assert.equal(await statusOf(REQUEST.read, string('9'), u64(0), u32(10)), STATUS.failure);
    assert.equal(await statusOf(REQUEST.close, string('')), STATUS.failure);
    assert.equal(await statusOf(REQUEST.stat, string('a\0b')), STATUS.noSuchFile);
    assert.equal(await statusOf(REQUEST.stat, string('x'.repeat(5_000))), STATUS.noSuchFile);
    assert.equal(await statusOf(REQUEST.stat, u32(50)), STATUS.badMessage);
    assert.equal(await statusOf(REQUEST.open, string('f'), u32(4 | 2), u32(0)), STATUS.unsupported);
    assert.equal(await statusOf(REQUEST.extended, string('nobody@example.com')), STATUS.unsupported);
    assert.equal(await statusOf(99), STATUS.unsupported);
    const { handle } = await wire.ask(REQUEST.open, 2, string('f'), u32(2 | 8), u32(0));
    assert.equal(
      await statusOf(REQUEST.read, string(handle), u64(0), u32(10)),
      STATUS.failure,
      'it was not opened for that',
    );
    assert.equal(await statusOf(REQUEST.write, string(handle), u64(2 ** 60), string('x')), STATUS.failure);
    assert.equal(await statusOf(REQUEST.write, string(handle), u64(3), string('x')), STATUS.ok);
    assert.equal(readFileSync(join(there, 'f'), 'latin1'), '\0\0\0x');
    for (let count = 1; count < MOST_HANDLES; count++)
      assert.equal((await wire.ask(REQUEST.open, 3, string('f'), u32(1), u32(0))).type, 102);
    assert.equal(await statusOf(REQUEST.open, string('f'), u32(1), u32(0)), STATUS.failure, 'too many are open');
    wire.close();
  });

  test('a client that speaks something else is sent away', async () => {
    for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), u32(0), packet(byte(REQUEST.init), u32(3))]) {
      const wire = await Wire.open();
      wire.write(bytes);
      await wire.ended();
    }
  });

  test('who does not take the answers is not read for; later all come, in order', async () => {
    writeFileSync(join(there, 'large'), Buffer.alloc(255 * 1024, 'large'));
    let done = 0;
    exec = (options) => {
      const session = asNobody(options);
      session.stdout.on('data', (chunk: Buffer) => (done += chunk.length));
      return session;
    };
    const wire = await Wire.open();
    const { handle } = await wire.ask(REQUEST.open, 1, string('large'), u32(1), u32(0));
    const COUNT = 200;
    const read = (id: number) => packet(byte(REQUEST.read), u32(id), string(handle), u64(0), u32(255 * 1024));
    for (let id = 0; id < COUNT; id++) wire.write(read(id));
    const first = await wire.next();
    assert.equal(first.length, 255 * 1024 + 9);
    // Windows and buffers on both sides have room for some of them.
    const most = 40 * 255 * 1024;
    for (let id = 1; id < COUNT; id++) {
      assert.ok(done < id * 255 * 1024 + most, `${done} bytes were read when ${id} answers were taken`);
      assert.equal((await wire.next()).readUInt32BE(1), id);
    }
    wire.close();
  });

  test('a container that says too much, nothing that makes sense, or no more ends the session', async () => {
    const liars = [
      'cat /dev/zero >&2',
      'cat /dev/zero',
      'exit 1',
      "printf '/\\0\\0000\\0\\0' >&2; read x; exec cat /dev/zero",
    ];
    for (const script of liars) {
      exec = (options) => asNobody({ ...options, command: ['/bin/sh', '-c', script] });
      const { code } = await sftp(['ls'], door());
      assert.notEqual(code, 0, script);
    }
  });

  test('the shell is killed in the middle, and the client is told', async () => {
    writeFileSync(join(there, 'f'), 'x');
    let kill: () => void = () => undefined;
    exec = (options) => {
      const gone = new AbortController();
      kill = () => gone.abort();
      return asNobody({
        ...options,
        signal: AbortSignal.any([gone.signal, ...(options.signal ? [options.signal] : [])]),
      });
    };
    const wire = await Wire.open();
    assert.equal((await wire.ask(REQUEST.open, 1, string('f'), u32(1), u32(0))).type, 102);
    kill();
    wire.write(packet(byte(REQUEST.stat), u32(2), string('f')));
    await wire.ended();
  });
});
