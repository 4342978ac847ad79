/**
 * exec, attach, cp, port-forward and the proxies, with the oldest and the newest stock kubectl that is here (every one of them in
 * `agent-streams.long.test.ts`): SPDY before 1.30, WebSocket since.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { after, before, describe, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { endpointSlices, pods, services } from '#cluster/kinds/resources.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { runKubectl, startKubectl } from './agent-kubectl-run.ts';
import { claimOctet } from './claim-octet.ts';
import { type KubectlProgram, kubectlPrograms } from './kubectl-versions.ts';
import { until } from './until.ts';

const all = kubectlPrograms();
const programs = process.env['EVERY_KUBECTL'] === '1' ? all : [...new Set([...all.slice(0, 1), ...all.slice(-1)])];
const skip = programs.length === 0 ? 'kubectl is not installed' : false;
const hasScript = spawnSync('script', ['--version']).status === 0;
const namespace = 'default';
let bed: AgentFixture;
let directory: string;

before(async () => {
  bed = await agentFixture(await claimOctet());
  directory = await mkdtemp(join(tmpdir(), 'sampan-streams-'));
  const script = `mkdir /tmp/site; echo page > /tmp/site/index.html
    httpd -p 127.0.0.1:8080 -h /tmp/site; httpd -p 8081 -h /tmp/site
    (while true; do nc -l -p 9000 -e cat; done) &
    echo up; while read line; do echo "got $line"; done; exec sleep 1000`;
  await bed.client.create(pods, {
    metadata: { name: 'web', namespace, labels: { app: 'web' } },
    spec: {
      nodeName: bed.nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: bed.image,
          imagePullPolicy: 'IfNotPresent',
          stdin: true,
          command: ['sh', '-c', script],
          ports: [{ containerPort: 8081 }],
          readinessProbe: { httpGet: { port: 8081 } },
        },
        { name: 'shell', image: bed.image, imagePullPolicy: 'IfNotPresent', stdin: true, tty: true, command: ['sh'] },
      ],
    },
  });
  await bed.until('web', 'Ready', (pod) =>
    Boolean(pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')),
  );
});
after(async () => {
  await bed.close();
  await rm(directory, { recursive: true });
});

function run(program: KubectlProgram, args: string[], input = '') {
  return runKubectl(bed.kubeconfig, args, { input, program: program.path });
}

/** Resolves with the local port, when kubectl listens. */
async function forwarded(program: KubectlProgram, target: string, port: string) {
  const child = startKubectl(bed.kubeconfig, ['port-forward', target, `:${port}`], program.path);
  const complaints = text(child.stderr);
  for await (const line of createInterface(child.stdout)) {
    const match = /^Forwarding from 127\.0\.0\.1:(\d+) ->/.exec(line);
    if (match)
      return {
        port: Number(match[1]),
        complaints,
        async stop() {
          if (child.exitCode === null) {
            child.kill('SIGKILL');
            await once(child, 'exit');
          }
        },
      };
  }
  throw new Error(`kubectl ${program.version} did not forward: ${await complaints}`);
}

describe('each kubectl', { skip, concurrency: false }, () => {
  for (const program of programs) {
    test(`${program.version}: exec with input and exit code`, async () => {
      const input = `${randomBytes(200_000).toString('hex')}\n`;
      const echoed = await run(program, ['exec', '-i', 'web', '-c', 'main', '--', 'cat'], input);
      assert.equal(echoed.stdout === input, true, echoed.stderr);
      const failed = await run(program, [
        'exec',
        'web',
        '-c',
        'main',
        '--',
        'sh',
        '-c',
        'echo out; echo err >&2; exit 9',
      ]);
      assert.deepEqual([failed.code, failed.stdout], [9, 'out\n']);
      assert.match(failed.stderr, /^err\n/);
      assert.equal((await run(program, ['exec', 'web', '-c', 'main', '--', '/no/such'])).code, 127);
    });

    test(`${program.version}: attach gives input and shows what is said`, async () => {
      const child = startKubectl(bed.kubeconfig, ['attach', '-i', 'web', '-c', 'main'], program.path);
      const said = createInterface(child.stdout)[Symbol.asyncIterator]();
      child.stdin.write(`hello from ${program.version}\n`);
      assert.equal((await said.next()).value, `got hello from ${program.version}`);
      child.kill();
      await once(child, 'exit');
    });

    test(`${program.version}: logs, of a part, and followed`, async () => {
      const logs = async (...args: string[]) => (await run(program, ['logs', 'web', '-c', 'main', ...args])).stdout;
      assert.match(await logs(), /^up\n/);
      assert.equal(await logs('--limit-bytes=2'), 'up');
      assert.match(await logs('--timestamps', '--since=1h'), /^\d{4}-\d\d-\d\dT[\d:.]+\S* up\n/);
      assert.match(
        (await run(program, ['logs', 'web', '-c', 'none'])).stderr,
        /container none is not valid for pod web/,
      );
      const child = startKubectl(bed.kubeconfig, ['logs', '-f', '--tail=0', 'web', '-c', 'main'], program.path);
      const said = createInterface(child.stdout)[Symbol.asyncIterator]();
      const next = said.next();
      const mark = `line of ${program.version}`;
      // Until somebody reads it: nothing tells when it follows.
      const stop = new AbortController();
      const speak = (async () => {
        const say = ['sh', '-c', `echo ${mark} >/proc/1/fd/1`];
        while (!stop.signal.aborted) await run(program, ['exec', 'web', '-c', 'main', '--', ...say]);
      })();
      // What one before it said may still be on its way.
      for (let line = await next; line.value !== mark; line = await said.next()) assert.ok(line.done !== true);
      stop.abort();
      await speak;
      child.kill();
      await once(child, 'exit');
    });

    test(`${program.version}: cp there and back`, async () => {
      const from = join(directory, 'there');
      const to = join(directory, `back-${program.version}`);
      await writeFile(from, randomBytes(300_000));
      const place = `web:/tmp/copy-${program.version}`;
      assert.equal((await run(program, ['cp', from, place, '-c', 'main'])).code, 0);
      assert.equal((await run(program, ['cp', place, to, '-c', 'main'])).code, 0);
      const digests = await Promise.all(
        [from, to].map(async (path) =>
          createHash('sha256')
            .update(await readFile(path))
            .digest('hex'),
        ),
      );
      assert.equal(digests[0], digests[1]);
    });

    test(`${program.version}: port-forward reaches what listens on the pod's loopback`, async () => {
      const tunnel = await forwarded(program, 'pod/web', '8080');
      const pages = await Promise.all(
        Array.from({ length: 8 }, async () => (await fetch(`http://127.0.0.1:${tunnel.port}/index.html`)).text()),
      );
      assert.deepEqual(new Set(pages), new Set(['page\n']));
      await tunnel.stop();
      const refused = await forwarded(program, 'pod/web', '81');
      await assert.rejects(fetch(`http://127.0.0.1:${refused.port}/`));
      await refused.stop();
      assert.match(await refused.complaints, /error forwarding port 81 to pod web_default/);
    });
  }
});

test('port-forward carries much in both directions, and half-closed connections', { skip }, async () => {
  const [program] = programs.slice(-1);
  assert.ok(program);
  const tunnel = await forwarded(program, 'pod/web', '9000');
  const sent = randomBytes(4 * 1024 * 1024);
  const socket = connect({ port: tunnel.port, host: '127.0.0.1', allowHalfOpen: true });
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  socket.end(sent);
  await once(socket, 'end');
  assert.equal(Buffer.concat(received).equals(sent), true);
  await tunnel.stop();
});

test('exec -it has the size of the terminal, and follows it', { skip: skip || !hasScript }, async () => {
  for (const program of programs) {
    const mark = join(directory, `resize-${program.version}`);
    const resize = `(until test -e ${mark}; do sleep 0.05; done; stty rows 44 cols 111 </dev/tty) &`;
    const wait = (size: string): string => `until [ "$(stty size)" = "${size}" ]; do sleep 0.05; done; stty size;`;
    const inside = `${wait('33 99')} ${wait('44 111')}`;
    const line = `stty rows 33 cols 99; ${resize} exec ${program.path} exec -it web -c shell -- sh -c '${inside}'`;
    const child = spawn('script', ['-qfc', line, '/dev/null'], {
      env: { ...process.env, KUBECONFIG: bed.kubeconfig },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let seen = '';
    child.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    await until(async () => seen.includes('33 99'));
    await writeFile(mark, '');
    await until(async () => seen.includes('44 111'));
    await once(child, 'close');
  }
});

// By `stdinOnce`.
test('run --rm -i gives input once, and ends with the exit code of what ran', { skip }, async () => {
  const overrides = JSON.stringify({ spec: { nodeName: bed.nodeName } });
  const flags = ['--rm', '-i', '--quiet', '--restart=Never', '--image', bed.image, '--image-pull-policy=IfNotPresent'];
  for (const [index, program] of programs.entries()) {
    const command = ['run', `once-${index}`, ...flags, '--overrides', overrides, '--', 'sh', '-c', 'sort; exit 3'];
    const said = await run(program, command, 'b\na\n');
    assert.equal(said.stdout.replace(/^pod .* deleted\n/m, ''), 'a\nb\n', said.stderr);
    assert.equal(said.code, 3, said.stderr);
  }
});

test('a pod and a service are reached through the API server', { skip }, async () => {
  await bed.client.create(services, {
    metadata: { name: 'front', namespace },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8081 }] },
  });
  const pod = await bed.until('web', 'there', (now) => now?.status?.podIP !== undefined);
  await bed.client.create(endpointSlices, {
    metadata: { name: 'front-1', namespace, labels: { 'kubernetes.io/service-name': 'front' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8081, protocol: 'TCP' }],
    endpoints: [{ addresses: [pod.status?.podIP ?? ''], conditions: { ready: true } }],
  });
  const [program] = programs.slice(-1);
  assert.ok(program);
  const raw = (path: string) => run(program, ['get', '--raw', path]);
  for (const path of [
    'pods/web/proxy/index.html',
    'pods/web:8081/proxy/',
    'services/front/proxy/',
    'services/front:http/proxy/index.html',
  ])
    assert.equal((await raw(`/api/v1/namespaces/${namespace}/${path}`)).stdout, 'page\n', path);
  assert.match(
    (await raw(`/api/v1/namespaces/${namespace}/pods/web:8080/proxy/`)).stderr,
    /error trying to reach service/,
  );
  assert.match(
    (await raw(`/api/v1/namespaces/${namespace}/services/front:none/proxy/`)).stderr,
    /no service port "none" found/,
  );
  assert.match(
    (await raw(`/api/v1/nodes/${bed.nodeName}/proxy/stats/summary`)).stdout,
    new RegExp(`"nodeName":"${bed.nodeName}"`),
  );
  const proxy = startKubectl(bed.kubeconfig, ['proxy', '--port=0'], program.path);
  const [line] = (await once(createInterface(proxy.stdout), 'line')) as [string];
  const address = /127\.0\.0\.1:\d+/.exec(line)?.[0];
  const answer = await fetch(`http://${address}/api/v1/namespaces/${namespace}/services/front/proxy`);
  assert.deepEqual([answer.status, answer.redirected, await answer.text()], [200, true, 'page\n']);
  const echo = createServer(async (request, response) => {
    if (request.url === '/moved') return void response.writeHead(302, { location: '/to' }).end();
    if (request.url?.startsWith('/page')) {
      const page = Buffer.from(
        `<a href="/to">1</a><a href="http://${request.headers.host}/to">2</a><a href="to">3</a>`,
      );
      const packed = request.url === '/page-packed';
      response.writeHead(200, { 'content-type': 'text/html', ...(packed ? { 'content-encoding': 'gzip' } : {}) });
      return void response.end(packed ? gzipSync(page) : page);
    }
    response.setHeader('set-cookie', ['a=1', 'b=2']);
    response.end(`${request.method} ${request.url} ${await text(request)}`);
  });
  const sockets = new WebSocketServer({ server: echo });
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
  echo.listen(0, bed.engine.info().bridge.gateway);
  await once(echo, 'listening');
  await bed.client.create(services, { metadata: { name: 'echo', namespace }, spec: { ports: [{ port: 80 }] } });
  await bed.client.create(endpointSlices, {
    metadata: { name: 'echo-1', namespace, labels: { 'kubernetes.io/service-name': 'echo' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: (echo.address() as AddressInfo).port, protocol: 'TCP' }],
    endpoints: [{ addresses: [bed.engine.info().bridge.gateway], conditions: { ready: true } }],
  });
  const at = `${address}/api/v1/namespaces/${namespace}/services/echo/proxy`;
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    const body = method === 'GET' ? {} : { body: 'body' };
    const said = await fetch(`http://${at}/a%2Fb?c=d`, { method, ...body });
    assert.equal(await said.text(), `${method} /a%2Fb?c=d ${body.body ?? ''}`);
    assert.deepEqual(said.headers.getSetCookie(), ['a=1', 'b=2']);
  }
  const to = new URL(`http://${at}/to`).pathname;
  for (const page of ['page', 'page-packed']) {
    const said = await fetch(`http://${at}/${page}`);
    assert.equal(await said.text(), `<a href="${to}">1</a><a href="${to}">2</a><a href="to">3</a>`);
    assert.equal((await fetch(`http://${at}/${page}`, { method: 'HEAD' })).status, 200);
  }
  assert.equal((await fetch(`http://${at}/moved`, { redirect: 'manual' })).headers.get('location'), to);
  const socket = new WebSocket(`ws://${at}/socket`);
  await once(socket, 'open');
  socket.send('through');
  assert.equal(String(((await once(socket, 'message')) as [Buffer])[0]), 'through');
  socket.terminate();
  sockets.close();
  echo.close();
  echo.closeAllConnections();
  proxy.kill();
  await once(proxy, 'exit');
});
