/** Every example is pushed as a person would, and does what its README says. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { parse } from 'yaml';
import yazl from 'yazl';
import { listFiles } from '#cli/push/files.ts';
import { CloudApi } from '#testing/cloud-api.ts';
import { TestPlatform, until } from '#testing/platform.ts';

const platform = new TestPlatform('examples');
const examples = join(import.meta.dirname, '..', 'examples');

interface AppView {
  routes: string[];
  processes: { type: string; instances: { state: string }[] }[];
}

/** Pushes with the example's own manifest; gives its host, or undefined where it has no route. */
async function push(example: string, path?: string): Promise<{ name: string; host: string | undefined }> {
  const directory = join(examples, example);
  await platform.must('push', '-p', path ?? directory, '-f', join(directory, 'manifest.yml'));
  const manifest = parse(readFileSync(join(directory, 'manifest.yml'), 'utf8')) as { applications: { name: string }[] };
  const name = manifest.applications[0]?.name ?? '';
  const { routes } = await platform.mustJson<AppView>('app', name);
  return { name, host: routes[0] && new URL(routes[0]).hostname };
}

/** The files of an example as one zip. */
async function zipOf(example: string, path: string): Promise<string> {
  const archive = new yazl.ZipFile();
  for (const file of listFiles(join(examples, example)))
    archive.addFile(file.absolute, file.path, { mode: 0o100000 | file.mode });
  archive.end();
  await writeFile(path, archive.outputStream);
  return path;
}

/** As `cf create-service postgres small guestbook-db` does. */
async function createDatabase(): Promise<void> {
  const api = new CloudApi(platform);
  await until('the plan', async () => (await api.guidOf('service_plans', 'small').catch(() => '')) !== '');
  const [space, plan] = [await api.guidOf('spaces', 'dev'), await api.guidOf('service_plans', 'small')];
  await api.job('POST', '/v3/service_instances', {
    type: 'managed',
    name: 'guestbook-db',
    relationships: { space: { data: { guid: space } }, service_plan: { data: { guid: plan } } },
  });
}

describe('examples', { concurrency: 1 }, () => {
  /** Its image takes a while: it is made beside the other examples. */
  let database: Promise<void>;

  before(async () => {
    await platform.must('up');
    database = createDatabase();
    database.catch(() => undefined);
  });
  after(() => platform.purge());

  test('every example is tested here or in a long test of languages or Dockerfiles', () => {
    assert.deepEqual(readdirSync(examples).sort(), [
      'dockerfile-apt',
      'go-web',
      'guestbook',
      'hello-node',
      'java-spring',
      'php-fastroute',
      'procfile-binary',
      'python-fastapi',
      'python-flask',
      'ruby-sinatra',
      'static-site',
      'web-express',
      'websocket-chat',
      'worker',
    ]);
  });

  test('hello-node answers', async () => {
    const { host } = await push('hello-node');
    assert.match((await platform.ask(host ?? '')).body, /Hello from Sampan/);
  });

  test('web-express has its dependencies', async () => {
    const { host } = await push('web-express');
    assert.equal((await platform.ask(host ?? '')).status, 200);
  });

  test('static-site is served by a real web server', async () => {
    const { host } = await push('static-site');
    const page = await platform.ask(host ?? '');
    assert.equal(page.status, 200);
    assert.match(page.body, /<html/i);
    assert.match(String(page.headers['content-type']), /text\/html/);
    assert.equal((await platform.ask(host ?? '', { path: '/no-such-page' })).status, 404);
  });

  test('websocket-chat passes on what one says to another', async () => {
    const { host } = await push('websocket-chat');
    const open = async (): Promise<WebSocket> => {
      const socket = new WebSocket(`ws://127.0.0.1:${platform.instance.ports.http}/`, { headers: { host } });
      await new Promise((done, fail) => socket.once('open', done).once('error', fail));
      return socket;
    };
    const [one, two] = [await open(), await open()];
    const heard: string[] = [];
    two.on('message', (data: Buffer) => heard.push(data.toString()));
    one.send('anybody here?');
    await until('it is heard', async () => heard.some((text) => text.includes('anybody here?')));
    one.close();
    two.close();
  });

  test('worker runs without a route, and its work is in its log', async () => {
    const { name, host } = await push('worker');
    assert.equal(host, undefined);
    await until('a line of its own', async () =>
      /\[APP\/PROC\/\w+\/0\]/.test(await platform.must('logs', name, '--recent')),
    );
  });

  test('python-flask has its runtime from Debian and its dependencies from PyPI', async () => {
    const { host } = await push('python-flask');
    assert.match((await platform.ask(host ?? '')).body, /^Hello from Python 3\.\d+/);
  });

  test('guestbook keeps what is written in a PostgreSQL database, whose pod may be killed', async () => {
    await database;
    const { host = '' } = await push('guestbook');
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const written = await platform.ask(host, { method: 'POST', headers, body: 'name=Ann&words=I+was+%3Chere%3E' });
    assert.equal(written.status, 303, written.body);
    assert.match((await platform.ask(host)).body, /<b>Ann<\/b>.*I was &#60;here&#62;/);
    const [pod = ''] = (await platform.mustKubectl('get', 'pods', '-n', 'sampan-postgres', '-o', 'name')).split('\n');
    await platform.mustKubectl('delete', '-n', 'sampan-postgres', pod, '--grace-period=0', '--force');
    const remembers = async () => (await platform.ask(host)).body.includes('<b>Ann</b>');
    await until('it is back with what was written', remembers, 120);
  });

  test('procfile-binary is started by its Procfile, and may be pushed as a zip', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sampan-zip-'));
    try {
      const { host } = await push('procfile-binary', await zipOf('procfile-binary', join(directory, 'app.zip')));
      assert.equal((await platform.ask(host ?? '')).status, 200);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
