import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { type WebSocket, WebSocketServer } from 'ws';
import { ApiError } from './client.ts';
import { createClient } from './create.ts';
import { httpsTransport } from './https.ts';
import { readLines } from './json-lines.ts';

/** The other end is a plain WebSocket server: it speaks for the kubelet what the protocol's description says. */
async function withServer(
  serve: (socket: WebSocket, path: string) => void,
  body: (client: ReturnType<typeof createClient>) => Promise<void>,
) {
  const http = createServer((_request, response) =>
    response.writeHead(403, { 'content-type': 'text/plain' }).end('not here'),
  );
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (protocols) => (protocols.has('v5.channel.k8s.io') ? 'v5.channel.k8s.io' : false),
  });
  http.on('upgrade', (request, socket, head) => {
    if (request.url?.includes('forbidden')) {
      const status = JSON.stringify({
        kind: 'Status',
        status: 'Failure',
        code: 403,
        reason: 'Forbidden',
        message: 'you may not',
      });
      socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-length: ${status.length}\r\n\r\n${status}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (opened) => serve(opened, request.url ?? ''));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const transport = httpsTransport({ url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });
  try {
    await body(createClient(transport));
  } finally {
    transport.close();
    sockets.close();
    http.close();
  }
}

const on = (channel: number, data: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from([channel]), Buffer.from(data)]);
const failure = (code: number): string =>
  JSON.stringify({
    kind: 'Status',
    status: 'Failure',
    reason: 'NonZeroExitCode',
    message: 'it failed',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  });

describe('exec session', () => {
  it('carries standard input to its end, both outputs and the exit status', async () => {
    let path = '';
    await withServer(
      (socket, url) => {
        path = url;
        const received: Buffer[] = [];
        socket.on('message', (message: Buffer) => {
          if (message[0] === 0) received.push(message.subarray(1));
          if (message[0] !== 255) return;
          assert.equal(message[1], 0);
          socket.send(on(1, Buffer.concat(received)));
          socket.send(on(2, 'complaint'));
          socket.send(on(3, failure(7)));
          socket.close();
        });
      },
      async (client) => {
        const session = await client.exec(
          { name: 'p', namespace: 'n' },
          { command: ['sh', '-c', 'a b&c'], stdin: true, container: 'c' },
        );
        const input = 'x'.repeat(300_000);
        session.stdin?.end(input);
        const [out, err, { code }] = await Promise.all([text(session.stdout), text(session.stderr), session.exited]);
        assert.equal(out, input);
        assert.equal(err, 'complaint');
        assert.equal(code, 7);
      },
    );
    const url = new URL(path, 'http://x');
    assert.equal(url.pathname, '/api/v1/namespaces/n/pods/p/exec');
    assert.deepEqual(url.searchParams.getAll('command'), ['sh', '-c', 'a b&c']);
    assert.equal(url.searchParams.get('stdin'), 'true');
  });

  it('rejects when the connection ends without a status, or never was', async () => {
    await withServer(
      (socket) => {
        socket.send(on(1, 'half'));
        socket.close();
      },
      async (client) => {
        const session = await client.exec({ name: 'p', namespace: 'n' }, { command: ['x'] });
        assert.equal(await text(session.stdout), 'half');
        await assert.rejects(session.exited, /before the exit status came/);
        await assert.rejects(
          client.exec({ name: 'forbidden', namespace: 'n' }, { command: ['x'] }),
          (error: unknown) => {
            assert.ok(error instanceof ApiError);
            assert.deepEqual([error.code, error.reason, error.message], [403, 'Forbidden', 'you may not']);
            return true;
          },
        );
      },
    );
  });
});

describe('lines', () => {
  it('joins long lines from many chunks in linear time', async () => {
    const stream = new PassThrough();
    const line = Buffer.alloc(8 << 20, 'x');
    for (let start = 0; start < line.byteLength; start += 1024) stream.write(line.subarray(start, start + 1024));
    stream.end('\nshort\n\nlast\nunfinished');
    const began = performance.now();
    const lines: Buffer[] = [];
    for await (const one of readLines(stream)) lines.push(one);
    assert.deepEqual(
      lines.map(({ byteLength }) => byteLength),
      [8 << 20, 5, 4],
    );
    assert.ok(performance.now() - began < 5000);
  });
});
