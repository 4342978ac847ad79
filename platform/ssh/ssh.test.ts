/**
 * The proxy with a real ssh client. Commands run on this machine instead of in a container (`exec` of the Kubernetes API is
 * stood in for); `test/change.test.ts` has the whole.
 */
import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, test } from 'node:test';
import ssh2, { type ClientChannel } from 'ssh2';
import type { PodExecOptions } from '#cluster/client/client.ts';
import { type SshProxy, SshRefusal } from './ssh.ts';
import { execHere, openProxy, USER } from './ssh.fixture.ts';

let proxy: SshProxy;
let codes: Set<string>;
let mayEnter: boolean;
let revoke = new AbortController();
const execs: PodExecOptions[] = [];

const open = () =>
  openProxy({
    exec: (options) => {
      execs.push(options);
      return execHere(options);
    },
    redeem: (code) => codes.delete(code),
    refusal: () => (mayEnter ? undefined : new SshRefusal('no')),
    revoked: () => revoke.signal,
  });

before(async () => {
  proxy = await open();
});
beforeEach(() => {
  codes = new Set(['right']);
  mayEnter = true;
  revoke = new AbortController();
});
after(() => proxy?.close());

async function login(password: string, options: { port?: number; username?: string } = {}): Promise<ssh2.Client> {
  const client = new ssh2.Client();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.once('ready', resolve);
  client.on('error', reject);
  client.once('close', () => reject(new Error('closed')));
  client.connect({ host: '127.0.0.1', port: options.port ?? proxy.port, username: options.username ?? USER, password });
  await promise;
  return client;
}

function command(client: ssh2.Client, line: string, input = ''): Promise<{ out: string; err: string; code: number }> {
  return new Promise((done, fail) => {
    client.exec(line, (error, channel: ClientChannel) => {
      if (error) return fail(error);
      const read = Promise.all([text(channel), text(channel.stderr)]);
      channel.end(input);
      channel.once('exit', (code: number) => {
        read.then(([out, err]) => done({ out, err, code }), fail);
      });
    });
  });
}

test("a command has its input, both outputs and its exit status; its words are the shell's, not ours", async () => {
  const client = await login('right');
  assert.deepEqual(await command(client, 'cat; echo "$0 it\'s" >&2; exit 7', 'hello'), {
    out: 'hello',
    err: "/bin/sh it's\n",
    code: 7,
  });
  assert.equal((await command(client, 'printf %s \'$(id)\' "a;b"')).out, '$(id)a;b');
  client.end();
});

test('a code is good once, and a wrong one is refused', async () => {
  (await login('right')).end();
  await assert.rejects(login('right'), /authentication methods failed/);
  codes.add('another');
  await assert.rejects(login('another', { username: 'root' }), /authentication methods failed/);
  assert.equal(codes.size, 0, 'it is used up by the attempt');
});

test('a connection ends, with what runs on it, when its right is taken away', async () => {
  const client = await login('right');
  const closed = new Promise<void>((done) => client.once('close', () => done()));
  client.on('error', () => undefined);
  const running = command(client, 'echo begun; exec sleep 1000').catch(() => undefined);
  while (execs.at(-1)?.command.at(-1) !== 'echo begun; exec sleep 1000') await new Promise(setImmediate);
  const { signal } = execs.at(-1) ?? {};
  revoke.abort(new SshRefusal('they may no longer change the app'));
  await closed;
  assert.equal(signal?.aborted, true);
  void running;
  await assert.rejects(login('right'), 'it is not let in again');
});

test('who is known and may not enter is refused', async () => {
  mayEnter = false;
  await assert.rejects(login('right'), /authentication methods failed/);
});

test('an address that guesses is not listened to for a while', async () => {
  const other = await open();
  try {
    for (let attempt = 0; attempt < 5; attempt++) {
      await assert.rejects(login('wrong', { port: other.port }), /authentication methods failed/);
    }
    await assert.rejects(login('right', { port: other.port }), (error: Error) => !/authentication/.test(error.message));
    assert.ok(codes.has('right'), 'nobody has looked at it');
  } finally {
    await other.close();
  }
});

test('strangers that say nothing take no more than their share', async () => {
  const other = await open();
  const sockets: Socket[] = [];
  try {
    const closed = Array.from({ length: 25 }, () => {
      const socket = connect(other.port, '127.0.0.1');
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.resume();
      return new Promise<void>((done) => socket.once('close', () => done()));
    });
    await Promise.race(closed);
  } finally {
    for (const socket of sockets) socket.destroy();
    await other.close();
  }
});

function through(client: ssh2.Client, host: string, port: number): Promise<ClientChannel> {
  return new Promise((done, fail) =>
    client.forwardOut('127.0.0.1', 1, host, port, (error, channel) => (error ? fail(error) : done(channel))),
  );
}

test('a connection is made where the command runs, passes bytes both ways, and ends with either end', async () => {
  const gone = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('close', () => gone.resolve());
    socket.on('data', (data) => socket.write(data.toString().toUpperCase()));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const client = await login('right');
  try {
    const channel = await through(client, '127.0.0.1', port);
    channel.write('hello');
    const answer = await new Promise<Buffer>((done) => channel.once('data', done));
    assert.equal(answer.toString(), 'HELLO');
    channel.close();
    await gone.promise;
    server.close();
    await assert.rejects(through(client, '127.0.0.1', port), /CONNECT_FAILED|Channel open failure/);
    for (const [host, bad] of [
      ['-e/bin/sh', 80],
      ['../../etc/passwd', 80],
      ['a b', 80],
      ['localhost', 0],
    ] as const) {
      const before = execs.length;
      await assert.rejects(through(client, host, bad), /Channel open failure/, host);
      assert.equal(execs.length, before, 'nothing is run for what is no address');
    }
  } finally {
    client.end();
    server.close();
  }
});

test('nothing else is served: no other subsystem, no way back, no agent', async () => {
  const client = await login('right');
  await assert.rejects(
    new Promise((done, fail) => client.subsys('netconf', (error) => (error ? fail(error) : done(undefined)))),
  );
  await assert.rejects(
    new Promise((done, fail) => client.forwardIn('127.0.0.1', 0, (error) => (error ? fail(error) : done(undefined)))),
  );
  client.end();
});
