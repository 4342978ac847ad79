import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { addressGuard } from '#lib/guarded-address.ts';
import { ociArchitecture } from './oci.ts';
import { parseReference, readRemoteImage } from './remote-image.ts';

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const local = addressGuard(() => [], ['127.0.0.0/8']);

let server: Server;
let host: string;
const asked: string[] = [];
const documents = new Map<string, string>();

const put = (path: string, document: unknown): string => {
  const text = JSON.stringify(document);
  documents.set(path, text);
  documents.set(path.replace(/[^/]+$/, digestOf(text)), text);
  return digestOf(text);
};

/** `open/…` is for everybody, `basic/…` and `bearer/…` ask for ann's password, as registries do. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://here');
  const authorization = request.headers.authorization ?? '';
  const isAnn = authorization === `Basic ${Buffer.from('ann:secret').toString('base64')}`;
  asked.push(`${pathname} ${authorization.split(' ')[0] ?? ''}`.trim());
  if (pathname === '/token') {
    const ok =
      isAnn && searchParams.get('scope') === 'repository:bearer/app:pull' && searchParams.get('service') === 'reg';
    response.writeHead(ok ? 200 : 401).end(ok ? '{"token":"T0ken"}' : '{}');
    return;
  }
  const [, , kind] = pathname.split('/');
  const challenge = kind === 'bearer' ? `Bearer realm="http://${host}/token",service="reg"` : 'Basic realm="x"';
  const let_in =
    kind === 'open' || (kind === 'basic' && isAnn) || (kind === 'bearer' && authorization === 'Bearer T0ken');
  if (!let_in) {
    response.writeHead(401, { 'www-authenticate': challenge }).end();
    return;
  }
  if (pathname.startsWith('/v2/open/moved/blobs/')) {
    response.writeHead(307, { location: `/v2/open/app/blobs/${pathname.split('/').at(-1)}` }).end();
    return;
  }
  const document = documents.get(pathname);
  response.writeHead(document === undefined ? 404 : 200).end(document);
}

before(async () => {
  server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = { config: { User: 'nginx', ExposedPorts: { '80/tcp': {} }, Cmd: ['serve'] } };
  for (const name of ['open/app', 'open/moved', 'basic/app', 'bearer/app']) {
    const digest = put(`/v2/${name}/blobs/config`, config);
    const manifest = put(`/v2/${name}/manifests/v1`, { config: { digest }, layers: [] });
    const platform = { os: 'linux', architecture: ociArchitecture() };
    put(`/v2/${name}/manifests/many`, {
      manifests: [
        { digest: 'sha256:other', platform: { os: 'windows' } },
        { digest: manifest, platform },
      ],
    });
    put(`/v2/${name}/manifests/foreign`, {
      manifests: [{ digest: manifest, platform: { os: 'linux', architecture: 'z80' } }],
    });
  }
  documents.set('/v2/open/app/manifests/lies', JSON.stringify({ config: { digest: digestOf('x') }, layers: [] }));
  documents.set(`/v2/open/app/blobs/${digestOf('x')}`, '{"config":{}}');
});
after(async () => {
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
});

const ann = { username: 'ann', password: 'secret' };
const read = (image: string, login?: typeof ann) =>
  readRemoteImage({ image: `${host}/${image}`, guard: local, ...(login === undefined ? {} : { login }) });

test('what an image is: open, with a password, with a token, of many machines, moved elsewhere', async () => {
  for (const [image, login] of [
    ['open/app:v1', undefined],
    ['open/moved:many', undefined],
    ['basic/app:v1', ann],
    ['bearer/app:many', ann],
  ] as const) {
    const found = await read(image, login);
    assert.deepEqual(found?.config.config, { User: 'nginx', ExposedPorts: { '80/tcp': {} }, Cmd: ['serve'] }, image);
    const [name = '', tag = ''] = image.split(':');
    assert.equal(found?.pinned, `${host}/${name}@${digestOf(documents.get(`/v2/${name}/manifests/${tag}`) ?? '')}`);
    assert.equal((await read(found?.pinned.slice(host.length + 1) ?? '', login))?.pinned, found?.pinned);
  }
});

test('what its registry says is final, and said with a remedy', async () => {
  const refused = (image: string, login: typeof ann | undefined, message: RegExp) =>
    assert.rejects(read(image, login), { code: 'no-image', message });
  await refused('open/app:gone', undefined, /is not in 127\.0\.0\.1:\d+: push it, or correct its name/);
  await refused('basic/app:v1', undefined, /give a login with --docker-username/);
  await refused('basic/app:v1', { ...ann, password: 'wrong' }, /check the password of ann/);
  await refused('bearer/app:v1', { ...ann, password: 'wrong' }, /check the password of ann/);
  await refused('open/app:foreign', undefined, /is not made for linux\//);
  await refused('open/app:lies', undefined, /sent another configuration/);
});

test('where it may not be asked, or does not answer, nothing is known and nothing was asked', async () => {
  const before = asked.length;
  const guard = addressGuard(() => [], []);
  assert.equal(await readRemoteImage({ image: `${host}/open/app:v1`, guard }), undefined);
  assert.equal(asked.length, before);
  assert.equal(await readRemoteImage({ image: '127.0.0.1:1/open/app:v1', guard: local }), undefined);
});

test("references are read as Docker's clients do", () => {
  const cases: [string, string[]][] = [
    ['nginx', ['docker.io', 'library/nginx', 'latest']],
    ['a/b:1.2', ['docker.io', 'a/b', '1.2']],
    ['localhost/a', ['localhost', 'a', 'latest']],
    ['ghcr.io/a/b:c@sha256:d', ['ghcr.io', 'a/b', 'sha256:d']],
    ['host:5000/a', ['host:5000', 'a', 'latest']],
  ];
  for (const [image, expected] of cases) {
    const { host: name, repository, reference } = parseReference(image);
    assert.deepEqual([name, repository, reference], expected, image);
  }
});
