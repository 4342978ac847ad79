/** What staging asks of an engine for source with a Dockerfile, of a real engine through its Docker API. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { writeTar } from '#lib/tar/write.ts';
import { createEngineBuilder } from '#platform/staging/dockerfiles/engine-builder.ts';
import type { DockerfileBuilder, DockerfileRequest } from '#platform/staging/dockerfiles/dockerfiles.ts';
import { fileEntry } from '#platform/staging/images/entries.ts';
import { type DockerHost, openDockerHost } from './docker-host.ts';
import { busyboxLayer, writeOciLayout } from './oci-layout.ts';
import { startPeerRegistry } from './peer-registry.ts';
import { type RegistryHost, startRegistryHost } from './registry-host.ts';
import { until } from './until.ts';

let registry: RegistryHost;
let docker: DockerHost;
let builder: DockerfileBuilder;
let base = '';
let container = '';
let address = '';

type Wish = Partial<Omit<DockerfileRequest, 'context'>> & { files?: Record<string, string> };

/** What was told. */
async function build(dockerfile: string, { files = {}, ...wish }: Wish = {}): Promise<string> {
  const lines: string[] = [];
  const all = Object.entries({ Dockerfile: dockerfile, ...files });
  await builder.build({
    context: () => writeTar(all.map(([name, text]) => fileEntry(name, text))),
    dockerfile: 'Dockerfile',
    buildArgs: {},
    logins: {},
    reference: `${registry.host}/cf/own:built`,
    container,
    limits: { memoryBytes: 64 * 1024 ** 2, cpuMillis: 1000, pids: 64, diskBytes: 64 * 1024 ** 2 },
    confined: {
      cacheScope: 'own',
      refused: [`${registry.host}/cf/`],
      allowed: [`${registry.host}/cf/own:`, `${registry.host}/cf/own@`],
    },
    onLine: (line) => lines.push(line),
    signal: AbortSignal.timeout(120_000),
    ...wish,
  });
  return lines.join('\n');
}

const steps = () => docker.host.engine.containers().filter(({ id }) => id !== container);

async function configOf(tag: string): Promise<Record<string, unknown>> {
  const manifest = await registry.call('GET', `/v2/cf/own/manifests/${tag}`);
  assert.equal(manifest.status, 200);
  const { config } = JSON.parse(manifest.body.toString()) as { config: { digest: string } };
  const blob = await registry.call('GET', `/v2/cf/own/blobs/${config.digest}`);
  return (JSON.parse(blob.body.toString()) as { config: Record<string, unknown> }).config;
}

describe('Dockerfiles of source', { timeout: 300_000 }, () => {
  before(async () => {
    registry = await startRegistryHost();
    const { host, ca } = registry;
    docker = await openDockerHost({ registries: { [host]: { username: 'node', password: 'x', ca } } });
    const { engine, image } = docker.host;
    base = `${host}/team/base:1`;
    for (const name of [base, `${host}/cf/other:1`, `${host}/cf/own:1`]) {
      await engine.images.adopt((await engine.images.pull(image)).digest, [name]);
      await engine.images.push(name);
    }
    const sandbox = await engine.createSandbox({ name: 'pod', hostname: 'pod', labels: {}, egress: 'internet' });
    address = sandbox.ip;
    const made = await engine.createContainer({ sandbox: sandbox.id, name: 'place', image, args: ['sleep', '1000'] });
    container = made.id;
    await engine.startContainer(container);
    const login = { username: 'platform', password: 'x' };
    builder = createEngineBuilder({ socketPath: docker.socketPath, node: 'here', login });
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  test('steps are in the network of the pod, variables are arguments, the image is in the registry', async () => {
    const dockerfile = `FROM ${base}\nARG SAID\nRUN hostname -i && echo "said $SAID"\nCOPY a.txt /\nUSER 7\nEXPOSE 3000\nCMD ["cat", "/a.txt"]\n`;
    const wish = { files: { 'a.txt': 'text' }, buildArgs: { SAID: 'hello', SECRET: 'nobody asks' } };
    const told = await build(dockerfile, wish);
    assert.match(told, new RegExp(`^${address.replaceAll('.', '\\.')}$`, 'm'));
    assert.match(told, /^said hello$/m);
    assert.doesNotMatch(told, /SECRET|build-args/);
    const { User, ExposedPorts, Cmd } = await configOf('built');
    assert.deepEqual([User, ExposedPorts, Cmd], ['7', { '3000/tcp': {} }, ['cat', '/a.txt']]);
    assert.equal(docker.host.engine.images.get(`${registry.host}/cf/own:built`), undefined, 'the name is gone');
    assert.deepEqual(steps(), []);
    assert.equal((await build(dockerfile, wish)).match(/Using cache/g)?.length, 6);
    const elsewhere = { cacheScope: 'other', refused: [], allowed: [] };
    assert.doesNotMatch(await build(dockerfile, { ...wish, confined: elsewhere }), /Using cache/);
  });

  test("others' images, what is only here, and addresses are not to be had", async () => {
    await build(`FROM ${registry.host}/cf/own:1\nRUN true\n`);
    const { id, digest } = await docker.host.engine.images.pull(base);
    const hidden = '127.0.0.1:1/only/here:1';
    await docker.host.engine.images.adopt(digest, [hidden]);
    for (const [dockerfile, message] of [
      [`FROM ${registry.host}/cf/other:1\nRUN true\n`, /cf\/other:1: this build may not have it/],
      [`FROM ${base}\nCOPY --from=${registry.host}/cf/other:1 /etc/passwd /\n`, /may not have it/],
      [`ARG X=${registry.host}/cf\nFROM $X/other:1\n`, /may not have it/],
      // It is on this engine, but in no registry.
      [`FROM ${hidden}\nRUN true\n`, /127\.0\.0\.1:1/],
      [`FROM ${base}\nADD http://127.0.0.1:1/x /\n`, /fetches no addresses by itself/],
      [`FROM ${base}\nRUN true\nFORM x\n`, /line 3: unknown instruction: FORM/],
      [`FROM ${base}\nRUN echo to the end; exit 7\n`, /returned a non-zero code: 7; its last lines:\n[^]*to the end/],
    ] as const)
      await assert.rejects(build(dockerfile), { code: 'build-failed', message }, dockerfile);
    await assert.rejects(build(`FROM ${id.slice('sha256:'.length)}\nRUN true\n`), { code: 'build-failed' });
    await assert.rejects(build(`FROM ${base}\n`, { dockerfile: 'deep/Dockerfile' }), /deep\/Dockerfile/);
    assert.deepEqual(steps(), []);
  });

  test('a base image that takes a login is for who has one, though it is here already', async () => {
    await using closed = await startPeerRegistry({});
    const layout = await mkdtemp(join(tmpdir(), 'base-'));
    await writeOciLayout(layout, { tag: '1', layers: [await busyboxLayer()], config: { Cmd: ['sh'] } });
    const image = `${closed.host}/team/base:1`;
    const copy = [
      'copy',
      '--dest-creds',
      'ann:secret',
      '--dest-tls-verify=false',
      `oci:${layout}:1`,
      `docker://${image}`,
    ];
    await promisify(execFile)('skopeo', copy);
    await rm(layout, { recursive: true });
    const dockerfile = `FROM ${image}\nRUN true\n`;
    const refused = { code: 'build-failed', message: /cnb-credentials of the manifest gives a login/ };
    const logins = (password: string) => ({ [closed.host]: { username: 'ann', password } });
    await assert.rejects(build(dockerfile), refused);
    await assert.rejects(build(dockerfile, { logins: logins('wrong') }), refused);
    await build(dockerfile, { logins: { ...logins('secret'), 'other.example.com': { username: 'x', password: 'y' } } });
    await assert.rejects(build(dockerfile), refused);
  });

  test('limits hold, and say which', async () => {
    const eats = `FROM ${base}\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n`;
    await assert.rejects(build(eats), { code: 'out-of-memory' });
    const fills = `FROM ${base}\nRUN dd if=/dev/zero of=/big bs=1M count=200\n`;
    await assert.rejects(build(fills), { code: 'disk-full' });
    const forks = `FROM ${base}\nRUN for i in $(seq 100); do sleep 100 & done; wait\n`;
    await assert.rejects(build(forks), { message: /fork/ });
    assert.deepEqual(steps(), []);
  });

  test('a build that is cancelled leaves nothing', async () => {
    const stop = new AbortController();
    const running = build(`FROM ${base}\nRUN echo begun; sleep 1000\n`, {
      signal: stop.signal,
      onLine: (line) => {
        if (line === 'begun') stop.abort(new Error('cancelled'));
      },
    });
    await assert.rejects(running, /cancelled/);
    await until(async () => steps().length === 0);
  });

  test('an engine that goes away is waited for', async () => {
    let away: Promise<void> | undefined;
    const lines: string[] = [];
    await build(`FROM ${base}\nRUN echo one > /one\nRUN echo begun; sleep 3\n`, {
      onLine: (line) => {
        lines.push(line);
        if (line === 'begun') away ??= docker.reopen();
      },
    });
    await away;
    assert.ok(lines.some((line) => /builder went away/.test(line)));
    assert.equal(lines.filter((line) => line === 'begun').length, 2);
    await configOf('built');
  });
});
