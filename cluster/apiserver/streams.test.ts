// A node's agent is stood in for by a TLS server that speaks its endpoint's contract: what counts here is what reaches it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';

const PODS = '/api/v1/namespaces/default/pods';

describe('API server: what a node serves', () => {
  let fixture: ApiFixture;
  const seen: string[] = [];
  const agents: Server[] = [];

  async function startAgent(commonName: string): Promise<number> {
    const pair = await fixture.issue(commonName, ['system:nodes']);
    const agent = createServer(
      { cert: pair.certificate, key: pair.key, ca: fixture.authority.certificate, requestCert: true },
      (request, response) => {
        seen.push(`${request.method} ${request.url}`);
        if (request.url?.includes('previous')) response.writeHead(400).end('there is no previous container');
        else if (request.url === '/stats/summary')
          response.writeHead(200, { 'content-type': 'application/json' }).end('{"node":1}');
        else response.end('line 1\nline 2\n');
      },
    );
    const sockets = new WebSocketServer({ server: agent, handleProtocols: () => 'v5.channel.k8s.io' });
    sockets.on('connection', (socket, request) => {
      seen.push(`${request.method} ${request.url}`);
      socket.on('message', (data: Buffer) => {
        socket.send(Buffer.concat([Buffer.from([1]), data.subarray(1)]));
        socket.close();
      });
    });
    agent.listen(0, '127.0.0.1');
    await once(agent, 'listening');
    agents.push(agent);
    return (agent.address() as AddressInfo).port;
  }

  async function node(name: string, port: number): Promise<void> {
    await fixture.call('POST', '/api/v1/nodes', {
      body: {
        metadata: { name },
        status: {
          addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
          daemonEndpoints: { kubeletEndpoint: { Port: port } },
        },
      },
    });
  }

  async function podOn(name: string, nodeName: string, containers = ['main']): Promise<void> {
    await fixture.call('POST', PODS, {
      body: { metadata: { name }, spec: { containers: containers.map((one) => ({ name: one, image: 'i' })) } },
    });
    if (nodeName !== '')
      await fixture.call('POST', `${PODS}/${name}/binding`, { body: { target: { name: nodeName } } });
  }

  before(async () => {
    fixture = await apiFixture();
    await node('n1', await startAgent('system:node:n1'));
    await node('n2', await startAgent('system:node:n1'));
    await podOn('one', 'n1');
    await podOn('two', 'n1', ['a', 'b']);
    await podOn('nowhere', '');
    await podOn('impostor', 'n2');
  });
  after(async () => {
    for (const agent of agents) {
      agent.close();
      agent.closeAllConnections();
    }
    await fixture.close();
  });

  test('logs come from the agent, with their options', async () => {
    const log = await fixture.call('GET', `${PODS}/one/log?tailLines=5&timestamps=true&unknown=1`);
    assert.equal(log.text, 'line 1\nline 2\n');
    assert.equal(seen.at(-1), 'GET /containerLogs/default/one/main?tailLines=5&timestamps=true');
    const previous = await fixture.call('GET', `${PODS}/one/log?previous=true`);
    assert.deepEqual(
      [previous.status, previous.json.reason, previous.json.message],
      [400, 'BadRequest', 'there is no previous container'],
    );
    const which = await fixture.call('GET', `${PODS}/two/log`);
    assert.deepEqual(
      [which.status, which.json.message],
      [400, 'a container name must be specified for pod two, choose one of: [a b]'],
    );
    assert.equal((await fixture.call('GET', `${PODS}/two/log?container=c`)).status, 400);
    assert.deepEqual((await fixture.call('GET', `${PODS}/nowhere/log`)).text, '');
  });

  test('the agent must be the node that it is said to be', async () => {
    const { status, json } = await fixture.call('GET', `${PODS}/impostor/log`);
    assert.equal(status, 502);
    assert.match(json.message, /its certificate is for "system:node:n1", expected "system:node:n2"/);
  });

  test("the agent's own pages are reached through the node", async () => {
    const { json } = await fixture.call('GET', '/api/v1/nodes/n1/proxy/stats/summary');
    assert.deepEqual(json, { node: 1 });
  });

  test('exec is piped, over the network and in the process', async () => {
    const admin = await fixture.issue('admin', ['system:masters']);
    const path = `${PODS}/one/exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true&tty=false`;
    const socket = new WebSocket(`wss://127.0.0.1:${fixture.api.port}${path}`, ['v5.channel.k8s.io'], {
      ca: fixture.authority.certificate,
      cert: admin.certificate,
      key: admin.key,
    });
    await once(socket, 'open');
    assert.equal(socket.protocol, 'v5.channel.k8s.io');
    assert.equal(seen.at(-1), 'GET /exec/default/one/main?input=1&output=1&command=sh&command=-c&command=a+b');
    socket.send(Buffer.from('\0hello'));
    const [message] = (await once(socket, 'message')) as [Buffer];
    assert.equal(message.toString(), '\u0001hello');
    const transport = fixture.api.transport({ name: 'admin', groups: ['system:masters'] });
    const inside = await transport.openSocket(path, ['v5.channel.k8s.io']);
    inside.send(Buffer.from('\0again'));
    const messages: string[] = [];
    for await (const one of inside.messages) messages.push(one.toString());
    assert.deepEqual(messages, ['\u0001again']);
    transport.close();
  });

  /** What it says until it closes. */
  async function overWebSocket(path: string, protocols: string[], messages = Infinity): Promise<[string, boolean][]> {
    const admin = await fixture.issue('admin', ['system:masters']);
    const socket = new WebSocket(`wss://127.0.0.1:${fixture.api.port}${path}`, protocols, {
      ca: fixture.authority.certificate,
      cert: admin.certificate,
      key: admin.key,
    });
    const said: [string, boolean][] = [];
    socket.on('message', (data: Buffer, binary: boolean) => {
      said.push([data.toString(), binary]);
      if (said.length === messages) socket.close();
    });
    await once(socket, 'close');
    return said;
  }

  test('logs come over a WebSocket, as bytes or as base64', async () => {
    const log = `${PODS}/one/log`;
    for (const protocols of [[], ['binary.k8s.io']]) {
      const said = await overWebSocket(log, protocols);
      assert.ok(said.every(([, binary]) => binary));
      assert.equal(said.map(([text]) => text).join(''), 'line 1\nline 2\n');
    }
    const encoded = await overWebSocket(log, ['base64.binary.k8s.io']);
    assert.ok(encoded.every(([, binary]) => !binary));
    assert.equal(encoded.map(([text]) => atob(text)).join(''), 'line 1\nline 2\n');
  });

  test('a watch comes over a WebSocket, an event a message', async () => {
    const path = `${PODS}?watch=1&fieldSelector=metadata.name%3Done`;
    const [[text, binary] = ['', true]] = await overWebSocket(path, [], 1);
    const { type, object } = JSON.parse(text) as { type: string; object: { metadata: { name: string } } };
    assert.deepEqual([type, object.metadata.name, binary], ['ADDED', 'one', false]);
    await assert.rejects(overWebSocket(`${PODS}?watch=1&labelSelector=%3D%3D`, []), /400/);
  });

  test('streams are refused with a Status', async () => {
    const jane = await fixture.issue('jane');
    const refused = async (path: string, as?: typeof jane) => {
      const headers = {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      };
      const { status, json } = await fixture.call('GET', path, { headers, ...(as === undefined ? {} : { as }) });
      return [status, json.reason];
    };
    assert.deepEqual(await refused(`${PODS}/one/exec?command=sh&stdout=1`, jane), [403, 'Forbidden']);
    assert.deepEqual(await refused(`${PODS}/one/log`, jane), [403, 'Forbidden']);
    assert.deepEqual(await refused(`${PODS}/impostor/exec?command=sh&stdout=1`), [502, 'BadGateway']);
    assert.deepEqual(await refused(`${PODS}/missing/log`), [404, 'NotFound']);
    assert.deepEqual(await refused(`${PODS}/missing/exec?command=sh&stdout=1`), [404, 'NotFound']);
    assert.deepEqual(await refused(`${PODS}/one/exec?stdout=1`), [400, 'BadRequest']);
    assert.deepEqual(await refused(`${PODS}/nowhere/exec?command=sh&stdout=1`), [409, 'Conflict']);
    assert.equal((await fixture.call('GET', `${PODS}/one/exec?command=sh&stdout=1`)).status, 400);
  });
});
