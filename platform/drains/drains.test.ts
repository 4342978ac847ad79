/** Drains with real receivers over TCP, TLS and HTTPS; the log behind them holds what the tests emit, so no cluster is needed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import test from 'node:test';
import { createServer as createTls, type TLSSocket } from 'node:tls';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { addressGuard } from '#lib/guarded-address.ts';
import { until } from '#testing/platform.ts';
import type { Logs } from '../logs/logs.ts';
import { openLogs } from '../logs/open.ts';
import type { Informers } from '../resources/informers.ts';
import type { Drains } from './drains.ts';
import { openDrains } from './open.ts';
import { rfc5424 } from './rfc5424.ts';

/** Stands in for the platform's objects. */
class Objects {
  readonly #kinds: Record<string, { metadata: { name: string; namespace?: string }; spec: Record<string, unknown> }[]> =
    {
      apps: [{ metadata: { name: 'app-guid', namespace: 'space' }, spec: { displayName: 'my "app"]' } }],
      spaces: [{ metadata: { name: 'space' }, spec: { displayName: 'a space', organization: 'org' } }],
      organizations: [{ metadata: { name: 'org' }, spec: { displayName: 'Org_1' } }],
      servicebindings: [],
      serviceinstances: [],
    };
  readonly #listeners = new Set<() => void>();
  credentials: Record<string, string> = {};

  bind(...urls: string[]): void {
    this.#kinds['serviceinstances'] = urls.map((url, index) => ({
      metadata: { name: `drain-${index}`, namespace: 'space' },
      spec: { displayName: `drain ${index}`, tags: [], syslogDrainUrl: url },
    }));
    this.#kinds['servicebindings'] = urls.map((_, index) => ({
      metadata: { name: `binding-${index}`, namespace: 'space' },
      spec: { app: 'app-guid', instance: `drain-${index}` },
    }));
    for (const listener of this.#listeners) listener();
  }

  get informers(): Informers {
    const of = ({ resource }: { resource: string }) => ({
      synced: Promise.resolve(),
      list: () => this.#kinds[resource] ?? [],
      get: (name: string) => (this.#kinds[resource] ?? []).find(({ metadata }) => metadata.name === name),
      byIndex: (_: string, key: string) =>
        (this.#kinds[resource] ?? []).filter(({ metadata }) => metadata.name === key),
      onChange: (listener: () => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
    });
    const data = () => ({ credentials: Buffer.from(JSON.stringify(this.credentials)).toString('base64') });
    return {
      of,
      taskPods: of({ resource: 'pods' }),
      client: { get: async () => ({ data: data() }) },
    } as unknown as Informers;
  }
}

interface Bed extends AsyncDisposable {
  objects: Objects;
  logs: Logs;
  drains: Drains;
  emit(...messages: string[]): void;
  /** What the app's log says of its drains. */
  said(): Promise<string[]>;
}

async function start(allowed = ['127.0.0.1/32']): Promise<Bed> {
  const objects = new Objects();
  const { informers } = objects;
  const logs = await openLogs({ informers, signal: new AbortController().signal, log: () => undefined });
  const drains = await openDrains({ informers, logs, guard: addressGuard(() => [], allowed), log: () => undefined });
  return {
    objects,
    logs,
    drains,
    emit(...messages) {
      for (const message of messages) {
        logs.emit({
          sourceId: 'app-guid',
          sourceType: 'APP/PROC/WEB',
          instanceId: '1',
          message,
          at: 1_767_323_045_123,
        });
      }
    },
    said: async () =>
      (await logs.read({ sourceId: 'app-guid', limit: 1000 }))
        .filter(({ sourceType }) => sourceType === 'LGR')
        .map(({ payload }) => payload.toString()),
    async [Symbol.asyncDispose]() {
      await drains.close();
      await logs.close();
    },
  };
}

/** Takes messages behind their lengths, and nothing else. */
class Receiver implements AsyncDisposable {
  readonly messages: string[] = [];
  readonly sockets = new Set<Socket>();
  readonly #server: Server;
  #reads = true;

  constructor(make: (onSocket: (socket: Socket) => void) => Server = (onSocket) => createServer(onSocket)) {
    this.#server = make((socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.sockets.delete(socket));
      if (!this.#reads) return;
      let rest = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk]);
        for (;;) {
          const [head, length] = /^(\d+) /.exec(rest.toString('latin1', 0, 8)) ?? [];
          if (head === undefined || rest.length < head.length + Number(length)) return;
          this.messages.push(rest.toString('utf8', head.length, head.length + Number(length)));
          rest = rest.subarray(head.length + Number(length));
        }
      });
    });
  }

  async listen(port = 0): Promise<number> {
    await once(this.#server.listen(port, '127.0.0.1'), 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  ignore(): void {
    this.#reads = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  texts(): string[] {
    return this.messages.map((message) => message.replace(/^.*?"\] /s, '').trimEnd());
  }
}

test('drains: a line is a message of RFC 5424 as Cloud Foundry writes it', () => {
  const names = {
    app: 'app-guid',
    appName: 'my "app"]\\',
    space: 's',
    spaceName: 'a  space',
    organization: 'o',
    organizationName: 'Org_1--',
  };
  const envelope = {
    timestamp: '1767323045123456789',
    sourceId: 'app-guid',
    instanceId: '2',
    sourceType: 'APP/TASK/my task',
    type: 'ERR' as const,
    payload: Buffer.from('a line\0 of text'),
  };
  assert.equal(
    rfc5424(envelope, names).toString(),
    '<11>1 2026-01-02T03:04:05.123456+00:00 Org1.a-space.my-app app-guid [APP/TASK/MY-TASK/2] - ' +
      '[tags@47450 app_id="app-guid" app_name="my \\"app\\"\\]\\\\" organization_id="o" organization_name="Org_1--" ' +
      'space_id="s" space_name="a  space" instance_id="2" source_type="APP/TASK/my task"] a line of text\n',
  );
  const gone = rfc5424({ ...envelope, type: 'OUT' }, undefined).toString();
  assert.match(gone, /^<14>1 \S+ - app-guid \[APP\/TASK\/MY-TASK\/2\] - \[tags@47450 app_id="app-guid" instance_id/);
});

test('drains: an app that is bound has its lines sent over TCP, in order, until it is bound no more', async () => {
  await using bed = await start();
  await using receiver = new Receiver();
  const port = await receiver.listen();
  bed.emit('before the binding');
  await bed.logs.read({ sourceId: 'app-guid' });
  bed.objects.bind(`syslog://127.0.0.1:${port}`);
  await until('the drain', async () => bed.drains.status().length === 1);
  const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}`);
  bed.emit(...lines);
  await until('all lines', async () => receiver.messages.length === 1000);
  assert.deepEqual(receiver.texts(), lines);
  assert.match(
    receiver.messages[0] ?? '',
    /^<14>1 \S+ Org1\.a-space\.my-app app-guid \[APP\/PROC\/WEB\/1\] - \[tags@47450 /,
  );
  assert.deepEqual(bed.drains.status(), [
    { app: 'app-guid', target: `127.0.0.1:${port}`, sent: 1000, dropped: 0, waiting: 0, error: undefined },
  ]);
  bed.objects.bind();
  await until('no drain', async () => bed.drains.status().length === 0 && receiver.sockets.size === 0);
  bed.emit('after it');
  await bed.logs.read({ sourceId: 'app-guid' });
  assert.equal(receiver.messages.length, 1000);
});

test('drains: over TLS, with the authority and the certificate of the credentials', async () => {
  await using bed = await start();
  const authority = await createAuthority({ commonName: 'drain authority', days: 2 });
  const server = await issueCertificate(authority, {
    commonName: 'drain',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const client = await issueCertificate(authority, { commonName: 'sampan', usages: ['client'], days: 1 });
  const subjects: unknown[] = [];
  await using receiver = new Receiver((onSocket) =>
    createTls(
      {
        cert: server.certificate,
        key: server.key,
        ca: authority.certificate,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket: TLSSocket) => {
        subjects.push(socket.getPeerCertificate().subject?.CN);
        onSocket(socket);
      },
    ),
  );
  const port = await receiver.listen();
  bed.objects.bind(`syslog-tls://127.0.0.1:${port}`);
  await until('the drain', async () => bed.drains.status().length === 1);
  bed.emit('one');
  await until('a refusal', async () => /self.signed|certificate/.test(bed.drains.status()[0]?.error ?? ''));
  assert.equal(receiver.messages.length, 0, 'to a stranger nothing is sent');
  bed.objects.credentials = { ca: authority.certificate, cert: client.certificate, key: client.key };
  await until('the line', async () => receiver.texts().includes('one'), 90);
  assert.ok(subjects.includes('sampan'));
});

test('drains: over HTTPS each message is a request, and is sent again until it is taken', async () => {
  await using bed = await start();
  const authority = await createAuthority({ commonName: 'drain authority', days: 2 });
  const pair = await issueCertificate(authority, {
    commonName: 'drain',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const taken: {
    text: string;
    path: string | undefined;
    authorization: string | undefined;
    type: string | undefined;
  }[] = [];
  let refusals = 2;
  const server = createHttps({ cert: pair.certificate, key: pair.key }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const isRefused = refusals-- > 0;
      response.writeHead(isRefused ? 503 : 200).end();
      const { authorization, 'content-type': type } = request.headers;
      if (!isRefused) taken.push({ text: Buffer.concat(chunks).toString(), path: request.url, authorization, type });
    });
  });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  bed.objects.credentials = { ca: authority.certificate };
  bed.objects.bind(`https://user:pass%40word@127.0.0.1:${port}/logs?token=secret`);
  await until('the drain', async () => bed.drains.status().length === 1);
  bed.emit('one', 'two', 'three');
  // The log's own word on the refusals is one of its lines.
  const texts = () =>
    taken.map(({ text }) => text.replace(/^.*?"\] /s, '')).filter((text) => !text.startsWith('failed'));
  await until('three requests', async () => texts().length === 3);
  assert.deepEqual(texts(), ['one\n', 'two\n', 'three\n']);
  const { path, authorization, type } = taken[0] ?? {};
  const login = Buffer.from('user:pass@word').toString('base64');
  assert.deepEqual([path, authorization, type], ['/logs?token=secret', `Basic ${login}`, 'text/plain']);
  const [said = ''] = await bed.said();
  assert.match(said, /^failed to write to 127\.0\.0\.1:\d+, retrying in 0\.1s, err: it answered with 503$/);
  assert.doesNotMatch(JSON.stringify([said, bed.drains.status()]), /secret|pass|user/);
});

test('drains: one that goes away gets what waited when it is back; the log says why', async () => {
  await using bed = await start();
  await using first = new Receiver();
  const port = await first.listen();
  bed.objects.bind(`syslog://127.0.0.1:${port}`);
  await until('the drain', async () => bed.drains.status().length === 1);
  bed.emit('one');
  await until('the line', async () => first.texts().includes('one'));
  await first.close();
  await until('a failure', async () => {
    bed.emit('while it is away');
    return bed.drains.status()[0]?.error !== undefined;
  });
  bed.emit('the last while it is away');
  await using second = new Receiver();
  await second.listen(port);
  await until('what waited', async () => second.texts().includes('the last while it is away'), 60);
  assert.match((await bed.said())[0] ?? '', /^failed to write to 127\.0\.0\.1:\d+, retrying in \S+s, err: /);
});

test('drains: one that does not read loses lines, which are counted; another one loses none', async () => {
  await using bed = await start();
  await using deaf = new Receiver();
  deaf.ignore();
  await using receiver = new Receiver();
  bed.objects.bind(`syslog://127.0.0.1:${await deaf.listen()}`, `syslog://127.0.0.1:${await receiver.listen()}`);
  await until('the drains', async () => bed.drains.status().length === 2);
  // What the log says of the other one comes too.
  const received = (): number => receiver.messages.filter((message) => message.endsWith('xx\n')).length;
  const total = 30_000;
  for (let index = 0; index < total; index += 1000) {
    bed.emit(...Array.from({ length: 1000 }, (_, line) => `${index + line} `.padEnd(1000, 'x')));
    await bed.logs.read({ sourceId: 'app-guid', limit: 1 });
    await until('what was sent', async () => received() >= index + 1000, 60);
  }
  assert.equal(received(), total);
  const [held] = bed.drains.status();
  assert.ok((held?.dropped ?? 0) > 0, JSON.stringify(held));
  assert.ok((held?.waiting ?? 0) <= 10_000);
});

test("drains: the platform's own addresses are not reached", async () => {
  await using bed = await start([]);
  await using receiver = new Receiver();
  const port = await receiver.listen();
  bed.objects.bind(`syslog://127.0.0.1:${port}`, `syslog://localhost:${port}`, `https://127.0.0.1:${port}`);
  await until('the drains', async () => bed.drains.status().length === 3);
  bed.emit('not for you');
  await until('refusals', async () =>
    bed.drains.status().every(({ error }) => /may not be reached from here/.test(error ?? '')),
  );
  assert.equal(receiver.sockets.size, 0);
  assert.ok((await bed.said()).some((line) => /the address 127\.0\.0\.1 may not be reached from here/.test(line)));
});
