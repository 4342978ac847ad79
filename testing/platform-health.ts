/** Health checks on a running platform: an app that says at `/live` and `/ready` what it is told to, beside a worker without a port. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestPlatform, until } from './platform.ts';
import { type Files, writeApp } from './sample-apps.ts';

const APP: Files = {
  'package.json': JSON.stringify({ name: 'patient', version: '1.0.0', scripts: { start: 'node server.js' } }),
  Procfile: 'web: node server.js\nworker: node worker.js\n',
  'worker.js': 'setInterval(() => {}, 1000);\n',
  'server.js': `
const { existsSync, writeFileSync } = require('node:fs');
const started = Date.now();
let live = true;
require('node:http').createServer((request, response) => {
  if (request.url === '/live/not') live = false;
  if (request.url === '/ready/not') writeFileSync('/tmp/not-ready', '');
  if (request.url === '/live' && !live) response.statusCode = 503;
  if (request.url === '/ready' && existsSync('/tmp/not-ready')) response.statusCode = 503;
  response.end(String(started));
}).listen(process.env.PORT);
process.on('SIGTERM', () => process.exit());
`,
  'manifest.yml': `applications:
- name: patient
  memory: 96M
  disk_quota: 128M
  health-check-type: http
  health-check-http-endpoint: /live
  health-check-interval: 1
  readiness-health-check-type: http
  readiness-health-check-http-endpoint: /ready
  readiness-health-check-interval: 1
  processes:
  - type: worker
    instances: 1
    memory: 64M
    health-check-type: process
`,
};

interface Shown {
  processes: { type: string; instances: { state: string; ip: string }[] }[];
}

export async function checkHealth(platform: TestPlatform): Promise<void> {
  const source = writeApp(join(platform.directory, 'src', 'patient'), APP);
  await platform.must('push', 'patient', '-p', source, '-f', join(source, 'manifest.yml'));
  const host = platform.host('patient');
  const ask = (path = '/') => platform.ask(host, { path });
  const instance = async (type: string) => {
    const { processes } = await platform.mustJson<Shown>('app', 'patient');
    return processes.find((process) => process.type === type)?.instances[0];
  };
  await until('the worker', async () => (await instance('worker'))?.state === 'RUNNING');
  const first = (await ask()).body;

  // Not ready: it leaves the router, and runs on.
  await ask('/ready/not');
  await until('it is not routed to', async () => (await ask()).status === 503);
  assert.equal((await instance('web'))?.state, 'RUNNING');
  // Only from inside: what is not ready is not routed to.
  const labelled = 'platform.sampan.dev/app-name=patient,platform.sampan.dev/process-type=web';
  const pod = await platform.mustKubectl('get', 'pods', '-n', 'default-dev', '-l', labelled, '-o', 'name');
  await platform.mustKubectl('exec', '-n', 'default-dev', pod.trim(), '--', 'rm', '/tmp/not-ready');
  await until('it is routed to again', async () => (await ask()).status === 200);
  assert.equal((await ask()).body, first, 'it is the same process');

  // Not alive: another process takes its place.
  const before = await instance('web');
  await ask('/live/not');
  await until(
    'another process',
    async () => {
      const { status, body } = await ask();
      return status === 200 && body !== first;
    },
    60,
  );
  assert.equal((await instance('web'))?.ip, before?.ip, 'in the same pod');
  await platform.must('delete', 'patient', '-f', '-r');
}
