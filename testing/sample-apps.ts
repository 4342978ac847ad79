/** Small real apps for end-to-end tests, written to a directory of the test's own. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export type Files = Record<string, string>;

export function writeApp(directory: string, files: Files): string {
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return directory;
}

/** Where the talkative app says back what it hears. */
export const ECHO = 9000;

/** Answers with its version, instance and address; can be told to crash, to log, to fill its disk. Has an echo besides. */
export function talkativeApp(version: string): Files {
  return {
    'package.json': JSON.stringify({
      name: 'talkative',
      version: '1.0.0',
      // What the platform ships: nothing is downloaded.
      engines: { node: process.versions.node },
      scripts: { start: 'node server.js' },
    }),
    'server.js': `
const http = require('node:http');
const fs = require('node:fs');
const started = Date.now();
console.log('starting version ${version}');
const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://app');
  if (url.pathname === '/crash') { response.end('bye'); setTimeout(() => process.exit(70), 10); return; }
  if (url.pathname === '/log') {
    const count = Number(url.searchParams.get('count') || 1);
    for (let i = 0; i < count; i++) console.log('line ' + i + ' of ' + url.searchParams.get('tag'));
    response.end('logged');
    return;
  }
  if (url.pathname === '/fill') {
    try { const chunk = Buffer.alloc(1 << 20, 1); for (let i = 0; i < 4096; i++) fs.appendFileSync('/tmp/big', chunk); response.end('no limit'); }
    catch (error) { fs.rmSync('/tmp/big', { force: true }); response.end(error.code); }
    return;
  }
  if (url.pathname === '/slow') { setTimeout(() => response.end('slow'), Number(url.searchParams.get('ms') || 1000)); return; }
  if (url.pathname === '/identity') {
    const status = fs.readFileSync('/proc/self/status', 'utf8');
    response.end(JSON.stringify({ status, uidMap: fs.readFileSync('/proc/self/uid_map', 'utf8'), env: process.env, pid: process.pid }));
    return;
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ version: '${version}', instance: process.env.CF_INSTANCE_INDEX, ip: process.env.CF_INSTANCE_INTERNAL_IP, started, headers: request.headers, url: request.url }));
});
server.listen(process.env.PORT);
require('node:net').createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => socket.destroy()).pipe(socket)).listen(${ECHO});
process.on('SIGTERM', () => server.close(() => process.exit(0)));
`,
  };
}

/** Sends what it is asked back to where it was for, and says so. The instance's own authority is nobody's that an app knows. */
export const ROUTE_SERVICE: Files = {
  'package.json': JSON.stringify({
    name: 'route-service',
    version: '1.0.0',
    engines: { node: process.versions.node },
    scripts: { start: 'node server.js' },
  }),
  'server.js': `
const http = require('node:http');
const https = require('node:https');
http.createServer((incoming, response) => {
  const to = incoming.headers['x-cf-forwarded-url'];
  if (to === undefined) { response.statusCode = 404; response.end('nobody sends you'); return; }
  const url = new URL(to);
  const headers = { ...incoming.headers, host: url.host };
  const sent = https.request(url, { method: incoming.method, headers, rejectUnauthorized: false }, (answer) => {
    response.writeHead(answer.statusCode, { ...answer.headers, 'x-through': 'guard ' + incoming.url });
    answer.pipe(response);
  });
  sent.on('error', (error) => { response.statusCode = 500; response.end(String(error)); });
  incoming.pipe(sent);
}).listen(process.env.PORT);
`,
};
