/** What only the node agent asks of sandboxes and containers: connections into them, shared processes, last words, domains. */
import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { type Container, type ContainerSpec, EngineError } from '../engine.ts';
import { type EngineHost, openEngineHost } from '#testing/engine-host.ts';
import { until } from '#testing/until.ts';

let host: EngineHost;
let sandbox: string;

before(async () => {
  host = await openEngineHost({ sandboxPool: 0 });
  ({ id: sandbox } = await host.engine.createSandbox({ name: 'pod', hostname: 'pod', domain: 'group.test' }));
});
after(async () => {
  await host[Symbol.asyncDispose]();
});

async function start(name: string, script: string, more: Partial<ContainerSpec> = {}): Promise<Container> {
  const command = ['sh', '-c', script];
  const { id } = await host.engine.createContainer({ sandbox, name, image: host.image, command, ...more });
  await host.engine.startContainer(id);
  return host.engine.container(id) ?? assert.fail();
}

const rejectsWith = (code: string) => (error: unknown) => error instanceof EngineError && error.code === code;
const linesOf = async (id: string): Promise<string[]> =>
  (await Array.fromAsync(host.engine.logs(id, {}))).map(({ line }) => line.toString());

test('what listens on a sandbox’s loopback is reached from outside it, and ends are half-closed', async () => {
  const { id } = await start('listener', 'httpd -p 127.0.0.1:7002; exec nc -l -p 7000 -e cat');
  const dial = async () => await host.engine.dialSandbox(sandbox, 7000).catch(() => undefined);
  let connection = await dial();
  await until(async () => (connection ??= await dial()) !== undefined);
  assert.ok(connection);
  (await host.engine.dialSandbox(sandbox, 7002)).destroy();
  connection.end('there and back');
  assert.equal(await text(connection), 'there and back');
  await host.engine.waitContainer(id);
  await assert.rejects(host.engine.dialSandbox(sandbox, 7001), rejectsWith('unavailable'));
  await assert.rejects(host.engine.dialSandbox(sandbox, 0), rejectsWith('invalid'));
  await assert.rejects(host.engine.dialSandbox('f'.repeat(64), 7000), rejectsWith('not-found'));
});

test('a container that shares the processes of another sees them, and ends with the first', async () => {
  const first = await start('first', 'exec sleep 4711');
  const guest = await start('guest', 'ps -o pid,args; kill -0 1 && echo reaches; exec sleep 1000', {
    processesOf: first.id,
  });
  await until(async () => (await linesOf(guest.id)).includes('reaches'));
  assert.match((await linesOf(guest.id)).join('\n'), /^\s*1 sleep 4711$/m);
  const other = await start('other', 'ps -o args; exec sleep 1000');
  await until(async () => (await linesOf(other.id)).length > 1);
  assert.doesNotMatch((await linesOf(other.id)).join('\n'), /4711/);
  await host.engine.stopContainer(first.id, { graceSeconds: 0 });
  assert.equal((await host.engine.waitContainer(guest.id)).code, 137);
  assert.equal(host.engine.container(other.id)?.state, 'running');
  await assert.rejects(start('late', 'true', { processesOf: first.id }), rejectsWith('conflict'));
  const { id: elsewhere } = await host.engine.createSandbox({ name: 'elsewhere', hostname: 'elsewhere' });
  await assert.rejects(
    start('stranger', 'true', { sandbox: elsewhere, processesOf: other.id }),
    rejectsWith('conflict'),
  );
});

test('who may not be root is told by the number behind the name', async () => {
  const { id } = await start('named', 'id -u', { user: 'app', nonRoot: true });
  await host.engine.waitContainer(id);
  assert.notDeepEqual(await linesOf(id), ['0']);
  for (const user of ['root', '0', ''])
    await assert.rejects(start(`root-${user}`, 'id -u', { user, nonRoot: true }), rejectsWith('invalid'));
});

test('last words are in the exit, bounded, also where the container ended while no engine ran', async () => {
  const words = { lastWords: '/dev/termination-log' };
  const brief = await start('brief', 'printf good-bye > /dev/termination-log; exit 2', words);
  assert.equal((await host.engine.waitContainer(brief.id)).lastWords, 'good-bye');
  const silent = await start('silent', 'exit 0', words);
  assert.equal((await host.engine.waitContainer(silent.id)).lastWords, undefined);
  const long = await start('long', 'yes | head -c 60000 > /dev/termination-log', { ...words, user: '1000' });
  assert.equal((await host.engine.waitContainer(long.id)).lastWords?.length, 4096);
  const later = await start('later', 'sleep 0.5; printf alone > /dev/termination-log; exit 5', words);
  await host.engine.close();
  await host.ended([later.id]);
  await host.reopen();
  const { code, lastWords } = await host.engine.waitContainer(later.id);
  assert.deepEqual({ code, lastWords }, { code: 5, lastWords: 'alone' });
});

test('a domain is in the hosts file, before the short name', async () => {
  const { id } = await start('names', 'grep pod /etc/hosts; hostname');
  await host.engine.waitContainer(id);
  const ip = host.engine.sandbox(sandbox)?.ip;
  assert.deepEqual(await linesOf(id), [`${ip}\tpod.group.test\tpod`, 'pod']);
});
