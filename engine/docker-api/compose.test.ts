/** The unmodified docker-compose: a stack of three services comes up, is scaled, shows itself, and goes without a rest. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type DockerHost, openDockerHost } from '#testing/docker-host.ts';
import { hostHasIpv6 } from '../network/ipv6-host.ts';

const finish = promisify(execFile);
const isThere = spawnSync('docker-compose', ['version']).status === 0;

const stack = (image: string): unknown => ({
  version: '3.7',
  services: {
    web: {
      image,
      command: ['sh', '-c', 'echo page > /tmp/index.html; exec httpd -f -p 8080 -h /tmp'],
      ports: ['127.0.0.1::8080'],
      depends_on: ['db'],
      networks: { front: {}, back: { aliases: ['site'] } },
    },
    worker: {
      image,
      command: [
        'sh',
        '-c',
        'until nslookup -type=a db >/dev/null; do usleep 50000; done; echo db is there, $$SECRET; exec sleep 1000',
      ],
      environment: { SECRET: 'forty-two' },
      depends_on: ['db'],
      networks: ['back'],
    },
    db: {
      image,
      command: ['sh', '-c', 'echo row >> /data/rows; echo has $$(wc -l < /data/rows) rows; exec sleep 1000'],
      volumes: ['data:/data'],
      networks: ['back'],
    },
  },
  networks: { front: {}, back: { internal: true } },
  volumes: { data: {} },
});

/** The form without a version: compose files of the third do not know `enable_ipv6`. */
const dual = (image: string, prefix: string): unknown => ({
  services: {
    fixed: { image, command: ['sleep', '1000'], networks: { six: { ipv6_address: `${prefix}::80` } } },
    other: { image, command: ['sleep', '1000'], networks: ['six'] },
  },
  networks: { six: { enable_ipv6: true, ipam: { config: [{ subnet: `${prefix}::/64` }] } } },
});

describe('docker-compose', {
  skip: isThere ? false : 'docker-compose is not installed',
  timeout: 240_000,
}, () => {
  let docker: DockerHost;
  let directory = '';
  before(async () => {
    docker = await openDockerHost();
    directory = mkdtempSync(join(tmpdir(), 'compose-'));
    writeFileSync(join(directory, 'docker-compose.yml'), JSON.stringify(stack(docker.host.image)));
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const compose = async (...words: string[]): Promise<string> => {
    const env = { ...docker.environment, COMPOSE_PROJECT_NAME: 'stack' };
    const { stdout } = await finish('docker-compose', words, { cwd: directory, env, timeout: 120_000 });
    return stdout;
  };
  const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');
  const names = async (service: string): Promise<string[]> => lines(await compose('ps', '-q', service));
  const until = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    for (const end = Date.now() + 20_000; !(await holds()); ) assert.ok(Date.now() < end, what);
  };

  test('up, scale, ps, logs, exec, port, stop, start, down -v', async () => {
    await compose('up', '-d');
    assert.match(await compose('ps'), /web/);
    const address = (await compose('port', 'web', '8080')).trim();
    assert.match(address, /^127\.0\.0\.1:\d+$/);
    await until('the published port answers', async () => {
      const answer = await fetch(`http://${address}/index.html`).catch(() => undefined);
      return (await answer?.text()) === 'page\n';
    });
    await compose('up', '-d', '--scale', 'worker=3');
    assert.equal((await names('worker')).length, 3);
    const found = await compose('exec', '-T', 'web', 'nslookup', '-type=a', 'worker');
    assert.equal(found.match(/Name:\s+worker/g)?.length, 3, found);
    assert.match(await compose('exec', '-T', 'worker', 'nslookup', '-type=a', 'site'), /Name:\s+site/);
    await until('each worker has logged', async () => {
      const log = await compose('logs', '--no-color', 'worker');
      return log.match(/db is there, forty-two/g)?.length === 3;
    });
    await compose('up', '-d', '--scale', 'worker=1');
    assert.equal((await names('worker')).length, 1);
    await compose('stop', '-t', '0', 'db');
    await compose('start', 'db');
    await until('the volume was kept', async () => (await compose('logs', '--no-color', 'db')).includes('has 2 rows'));
    await compose('up', '-d', '--force-recreate', '-t', '0', 'db');
    await until('the new one has the volume', async () =>
      (await compose('logs', '--no-color', 'db')).includes('has 3 rows'),
    );
    await compose('down', '-v', '-t', '0');
    assert.equal(await docker.ok('ps', '-aq'), '');
    assert.equal(await docker.ok('volume', 'ls', '-q'), '');
    assert.equal((await docker.ok('network', 'ls', '-q', '--filter', 'type=custom')).trim(), '');
    assert.deepEqual(docker.host.engine.sandboxes(), []);
  });

  test('a network with IPv6, and an address of it by wish', {
    skip: hostHasIpv6() ? false : 'IPv6 is turned off on this machine',
  }, async () => {
    const prefix = `fd79:${randomInt(65_536).toString(16)}:${randomInt(65_536).toString(16)}:1`;
    const file = join(directory, 'dual.yml');
    writeFileSync(file, JSON.stringify(dual(docker.host.image, prefix)));
    await compose('-f', file, 'up', '-d');
    const found = await compose('-f', file, 'exec', '-T', 'other', 'nslookup', '-type=aaaa', 'fixed');
    assert.match(found, new RegExp(`Address: ${prefix}::80`));
    await compose('-f', file, 'exec', '-T', 'other', 'ping', '-6', '-c', '1', '-W', '2', `${prefix}::80`);
    await compose('-f', file, 'down', '-t', '0');
    assert.deepEqual(docker.host.engine.networks.list(), []);
  });
});
