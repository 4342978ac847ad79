/** Clients that do not read, that stop half way, and that only sit there: none holds the others up or takes memory without bound. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { type Socket, createConnection } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ask } from '#testing/kill/api-client.ts';
import { type DockerHost, openDockerHost } from '#testing/docker-host.ts';
import { until } from '#testing/until.ts';

const MEBIBYTE = 1024 * 1024;
let docker: DockerHost;

/** Says as much as conmon takes, for as long as anybody looks, and not for ever where this test was killed meanwhile. */
const TALKER = `trap "exit 0" TERM; (sleep 300; kill 1) & line=$(head -c 65000 /dev/zero | tr "\\0" x); while :; do echo $line; done`;

const post = async (path: string, body?: unknown): Promise<string> => {
  const answer = await ask(docker.socketPath, 'POST', path, body);
  assert.ok(answer !== undefined && answer.status < 400, `${path}: ${answer?.status} ${answer?.text}`);
  return answer.text;
};

async function connect(): Promise<Socket> {
  const socket = createConnection(docker.socketPath);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Sends a request, reads the head of the answer, and then nothing. */
async function paused(method: string, path: string, headers = ''): Promise<Socket> {
  const socket = await connect();
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: docker\r\n${headers}\r\n`);
  const [head] = (await once(socket, 'data')) as [Buffer];
  assert.match(head.toString('latin1'), /^HTTP\/1\.1 (200|101)/);
  socket.pause();
  return socket;
}

async function remove(id: string): Promise<void> {
  const answer = await ask(docker.socketPath, 'DELETE', `/containers/${id}?force=1`);
  assert.equal(answer?.status, 204, answer?.text ?? 'no answer');
}

async function run(script: string): Promise<string> {
  const body = { Image: docker.host.image, Cmd: ['sh', '-c', script] };
  const { Id: id } = JSON.parse(await post('/containers/create', body)) as { Id: string };
  await post(`/containers/${id}/start`);
  return id;
}

describe('slow clients', { timeout: 400_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('followed logs and an attached client that do not read take no memory', async () => {
    const talker = await run(TALKER);
    const sockets = [
      ...(await Promise.all(
        Array.from({ length: 8 }, () => paused('GET', `/containers/${talker}/logs?stdout=1&follow=1`)),
      )),
      await paused(
        'POST',
        `/containers/${talker}/attach?stdout=1&stream=1&logs=1`,
        'Connection: Upgrade\r\nUpgrade: tcp\r\n',
      ),
    ];
    const before = process.memoryUsage().rss;
    const { pid = 0 } = docker.host.engine.container(talker) ?? {};
    const first = writtenBy(pid);
    await until(async () => writtenBy(pid) > first + 32 * MEBIBYTE, 60);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 64 * MEBIBYTE, `9 clients that do not read: ${Math.round(grown / MEBIBYTE)} MiB`);
    // Others are answered meanwhile.
    assert.equal((await ask(docker.socketPath, 'GET', '/_ping'))?.text, 'OK');
    for (const socket of sockets) socket.destroy();
    await remove(talker);
  });

  test('a client that does not read events is cut off; who reads misses none', async () => {
    const reader = await connect();
    let events = 0;
    reader.on('data', (chunk: Buffer) => {
      events += chunk.toString('latin1').split('"Action":"kill"').length - 1;
    });
    reader.write('GET /v1.45/events HTTP/1.1\r\nHost: docker\r\n\r\n');
    const sleeper = await paused('GET', '/v1.45/events');
    let isCut = false;
    sleeper.on('close', () => {
      isCut = true;
    });
    const id = await run('exec sleep 1000');
    let sent = 0;
    while (sent < 6000) {
      await Promise.all(Array.from({ length: 100 }, () => post(`/containers/${id}/kill?signal=CONT`)));
      sent += 100;
    }
    await until(async () => events === sent, 60);
    sleeper.resume();
    await until(async () => isCut, 60);
    reader.destroy();
    await remove(id);
  });

  test('an exec whose output nobody reads waits, and goes on when its client has gone', async () => {
    const id = await run('exec sleep 1000');
    const marker = `marker-${id.slice(0, 12)}`;
    const exec = { Cmd: ['sh', '-c', `while :; do echo ${marker}; done`], AttachStdout: true };
    const { Id: one } = JSON.parse(await post(`/containers/${id}/exec`, exec)) as { Id: string };
    const socket = await connect();
    const body = '{"Detach":false}';
    socket.write(
      `POST /v1.45/exec/${one}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n${body}`,
    );
    await once(socket, 'data');
    socket.pause();
    // It fills what is between it and us, and then waits for who reads.
    await until(async () => processWith(marker) > 0, 60);
    const echo = processWith(marker);
    let last = -1;
    const isStill = async (): Promise<boolean> => {
      const before = last;
      last = writtenBy(echo);
      await delay(200);
      return last > 0 && before === last;
    };
    const before = process.memoryUsage().rss;
    await until(isStill, 60);
    assert.ok(process.memoryUsage().rss - before < 32 * MEBIBYTE);
    // As with Docker, it goes on without its client, and nobody hears it.
    socket.destroy();
    await until(async () => writtenBy(echo) > last + MEBIBYTE, 60);
    await remove(id);
  });

  test('half a request and five hundred idle connections', async () => {
    const half = await connect();
    half.write('POST /v1.45/containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: 100\r\n\r\n{"Image":');
    const ended = await connect();
    ended.write('GET /v1.45/info HT');
    ended.end();
    const idle = await Promise.all(Array.from({ length: 500 }, connect));
    let open = idle.length;
    for (const socket of idle) socket.once('close', () => (open -= 1)).resume();
    assert.equal((await ask(docker.socketPath, 'GET', '/_ping'))?.text, 'OK');
    assert.equal(open, 500);
    half.resume();
    const talker = await run(TALKER);
    const upgrade = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';
    await paused('POST', `/containers/${talker}/attach?stdout=1&stream=1`, upgrade);
    // A restart of the engine does not wait for any of them.
    await docker.reopen();
    await until(async () => open === 0, 60);
    assert.equal((await ask(docker.socketPath, 'GET', '/_ping'))?.text, 'OK');
  });
});

/** In all (proc(5), io). */
function writtenBy(pid: number): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);
}

/** The process in the container, not the runtime that was told of it. */
function processWith(marker: string): number {
  const found = readdirSync('/proc').find((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, 'utf8');
      return line.startsWith('sh\0-c\0') && line.includes(marker);
    } catch {
      return false; // It ended while we looked.
    }
  });
  return Number(found ?? 0);
}
