/** What is spoken through the router: each protocol end to end, with a real client and a real server on its two sides. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { request } from 'node:http';
import { type AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import {
  type ClientReadableStream,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { WebSocket, WebSocketServer } from 'ws';
import type { Endpoint, Router } from './model.ts';
import { backend, get, route, startApp, startRouter, type TestRouter } from './testing.ts';

let started: TestRouter;
let router: Router;

before(async () => {
  started = await startRouter();
  router = started.router;
});
after(() => started?.[Symbol.asyncDispose]());

/** Leads `name.apps.test` to the endpoint. */
async function serve(name: string, endpoint: Omit<Endpoint, 'name' | 'ip'>): Promise<string> {
  await router.apply({
    routes: [route(`${name}.apps.test`, name)],
    backends: [backend(name, { name, ip: '127.0.0.1', ...endpoint })],
  });
  return `${name}.apps.test`;
}

function session(host: string): ClientHttp2Session {
  return connectHttp2(`https://127.0.0.1:${router.ports().https}`, { ca: started.authority, servername: host });
}

const asIs = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});
const service: ServiceDefinition = {
  once: method('once', false, false),
  count: method('count', false, true),
  talk: method('talk', true, true),
};

/** Answers, counts, and talks, with trailers of its own. */
async function startGrpc(): Promise<{ port: number; stop: () => void }> {
  const server = new Server();
  const implementation = {
    once: (
      call: { request: Buffer; metadata: Metadata },
      done: (error: unknown, answer?: Buffer, trailer?: Metadata) => void,
    ) => {
      if (String(call.request) === 'wrong') return done({ code: status.FAILED_PRECONDITION, details: 'wrong indeed' });
      const trailer = new Metadata();
      trailer.set('x-trailer', String(call.metadata.get('x-header')[0]));
      done(null, Buffer.from(`once ${call.request}`), trailer);
    },
    count: (call: { request: Buffer; write(bytes: Buffer): void; end(): void }) => {
      for (let number = 1; number <= Number(call.request); number++) call.write(Buffer.from(String(number)));
      call.end();
    },
    talk: (call: NodeJS.ReadWriteStream) => {
      call.on('data', (bytes: Buffer) => call.write(Buffer.from(`heard ${bytes}`)));
      call.on('end', () => call.end());
    },
  };
  server.addService(service, implementation as unknown as UntypedServiceImplementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { port, stop: () => server.forceShutdown() };
}

interface EchoClient {
  once(
    request: Buffer,
    metadata: Metadata,
    done: (error: ServiceError | null, answer: Buffer) => void,
  ): NodeJS.EventEmitter;
  count(request: Buffer): ClientReadableStream<Buffer>;
  talk(): NodeJS.ReadWriteStream;
  close(): void;
}

test('gRPC: unary and streaming calls, their metadata, trailers and errors', async () => {
  const app = await startGrpc();
  const host = await serve('grpc', { port: app.port, protocol: 'http2' });
  const Client = makeGenericClientConstructor(service, 'Echo');
  const client = new Client(
    `127.0.0.1:${router.ports().https}`,
    credentials.createSsl(Buffer.from(started.authority)),
    { 'grpc.ssl_target_name_override': host, 'grpc.default_authority': host },
  ) as unknown as EchoClient;
  try {
    const header = new Metadata();
    header.set('x-header', 'carried');
    const answered = Promise.withResolvers<string>();
    const call = client.once(Buffer.from('hello'), header, (error, answer) =>
      error ? answered.reject(error) : answered.resolve(String(answer)),
    );
    const [end] = (await once(call, 'status')) as [{ metadata: Metadata }];
    assert.equal(await answered.promise, 'once hello');
    assert.deepEqual(end.metadata.get('x-trailer'), ['carried']);

    const failed = Promise.withResolvers<ServiceError>();
    client.once(Buffer.from('wrong'), header, (error) => failed.resolve(error as ServiceError));
    const { code, details } = await failed.promise;
    assert.deepEqual([code, details], [status.FAILED_PRECONDITION, 'wrong indeed']);

    const numbers: number[] = [];
    for await (const bytes of client.count(Buffer.from('1000'))) numbers.push(Number(bytes));
    assert.deepEqual(
      numbers,
      [...Array(1000).keys()].map((number) => number + 1),
    );

    // Each side hears the other while both go on.
    const talk = client.talk();
    for (const word of ['one', 'two', 'three']) {
      talk.write(Buffer.from(word));
      const [heard] = (await once(talk, 'data')) as [Buffer];
      assert.equal(String(heard), `heard ${word}`);
    }
    talk.end();
    await once(talk, 'end');

    // An app that is not there is an error of the protocol, not a hang.
    await router.apply({ routes: [route(host, 'grpc')], backends: [backend('grpc')] });
    const gone = Promise.withResolvers<ServiceError>();
    client.once(Buffer.from('hello'), header, (error) => gone.resolve(error as ServiceError));
    assert.equal((await gone.promise).code, status.UNAVAILABLE);
  } finally {
    client.close();
    app.stop();
  }
});

test('HTTP/2 on both sides: many requests at once on one connection, trailers; and HTTP/1.1 clients of HTTP/2 apps', async () => {
  const app = createHttp2Server((incoming, response) => {
    response.setHeader('trailer', 'x-done');
    response.write(`${incoming.httpVersion} ${incoming.url}`);
    response.addTrailers({ 'x-done': 'yes' });
    response.end();
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  const host = await serve('h2', { port: (app.address() as AddressInfo).port, protocol: 'http2' });
  const client = session(host);
  try {
    const answers = await Promise.all(
      [...Array(50).keys()].map(async (number) => {
        const stream = client.request({ ':path': `/${number}`, ':authority': host });
        const trailers = once(stream, 'trailers') as Promise<[Record<string, string>]>;
        const chunks: Buffer[] = [];
        for await (const chunk of stream) chunks.push(chunk as Buffer);
        return [Buffer.concat(chunks).toString(), (await trailers)[0]['x-done']];
      }),
    );
    assert.deepEqual(
      answers,
      [...Array(50).keys()].map((number) => [`2.0 /${number}`, 'yes']),
    );
    assert.equal((await get(router, host, '/old')).body, '2.0 /old');
  } finally {
    client.close();
    app.close();
  }
});

test('WebSocket: over HTTP/1.1 and inside HTTP/2', async () => {
  await using app = await startApp('app');
  const sockets = new WebSocketServer({ server: app.server });
  sockets.on('connection', (socket) => socket.on('message', (message) => socket.send(`echo ${String(message)}`)));
  const host = await serve('ws', { port: app.port });
  const socket = new WebSocket(`ws://127.0.0.1:${router.ports().http}/`, { headers: { host } });
  await once(socket, 'open');
  for (const word of ['one', 'two']) {
    socket.send(word);
    const [message] = (await once(socket, 'message')) as [Buffer];
    assert.equal(String(message), `echo ${word}`);
  }
  socket.close();
  await once(socket, 'close');

  // RFC 8441: what a browser does where it has an HTTP/2 connection already.
  const client = session(host);
  await once(client, 'remoteSettings');
  assert.equal(client.remoteSettings.enableConnectProtocol, true);
  const stream = client.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':scheme': 'https',
    ':path': '/',
    ':authority': host,
    'sec-websocket-version': '13',
  });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  assert.equal(headers[':status'], 200);
  // A masked frame of text, "hi", with a mask of zeros.
  stream.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]));
  const [frame] = (await once(stream, 'data')) as [Buffer];
  assert.equal(frame.subarray(2).toString(), 'echo hi');
  stream.close();
  client.close();
  for (const open of sockets.clients) open.terminate();
  sockets.close();
});

test('server-sent events and uploads are passed on as they come', async () => {
  let say = (_event: string): void => undefined;
  const heard = Promise.withResolvers<string>();
  await using app = await startApp('events', (incoming, response) => {
    if (incoming.method === 'POST') {
      incoming.once('data', (chunk: Buffer) => heard.resolve(String(chunk)));
      incoming.on('end', () => response.end('all of it'));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.flushHeaders();
    say = (event) => response.write(`data: ${event}\n\n`);
    incoming.once('close', () => response.end());
  });
  const host = await serve('events', { port: app.port });

  const sent = request({ host: '127.0.0.1', port: router.ports().http, headers: { host }, agent: false }).end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  // Each is here before the next one is said.
  for (const event of ['first', 'second', 'third']) {
    say(event);
    const [chunk] = (await once(response, 'data')) as [Buffer];
    assert.equal(String(chunk), `data: ${event}\n\n`);
  }
  response.destroy();

  const client = session(host);
  const stream = client.request({ ':path': '/', ':authority': host });
  await once(stream, 'response');
  for (const event of ['first', 'second']) {
    say(event);
    const [chunk] = (await once(stream, 'data')) as [Buffer];
    assert.equal(String(chunk), `data: ${event}\n\n`);
  }
  stream.close();
  client.close();

  const upload = request({
    host: '127.0.0.1',
    port: router.ports().http,
    method: 'POST',
    headers: { host, 'transfer-encoding': 'chunked' },
    agent: false,
  });
  upload.write('the first part');
  assert.equal(await heard.promise, 'the first part');
  upload.end('the rest');
  const [answer] = (await once(upload, 'response')) as [import('node:http').IncomingMessage];
  assert.equal(String((await answer.toArray())[0]), 'all of it');
});
