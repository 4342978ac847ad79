/**
 * A small checkout for the bootstrap: the real script, over a registry of the test's own. Its npm is a stand-in (the real
 * one is 3 MB from the outside) that notes each run, so the script's pin of npm is replaced by the stand-in's digest; the
 * pin of Node is the real one, and Node itself is linked in.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { chmodSync } from 'node:fs';
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Finished } from './platform.ts';

const root = join(import.meta.dirname, '..');
export const scriptPath = join(root, 'sampan');

const npmStandIn = `
const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');
appendFileSync(process.env.NPM_RUNS ?? '/dev/null', process.argv.slice(2).join(' ') + '\\n');
if (process.env.NPM_FAILS) { console.error('npm said no'); process.exit(1); }
mkdirSync('node_modules/installed', { recursive: true });
writeFileSync('node_modules/installed/index.js', '');
`;

/** What the checkout's command prints: how it was started. */
const command = `console.log(JSON.stringify({ words: process.argv.slice(2), noProxy: process.env.no_proxy, NO_PROXY: process.env.NO_PROXY }));`;

export class BootstrapCheckout {
  readonly directory = mkdtempSync(join(tmpdir(), 'sampan-bootstrap-'));
  readonly path = join(this.directory, 'checkout');
  readonly tools = join(this.directory, 'tools');
  readonly npmRuns = join(this.directory, 'npm-runs');
  readonly tarball: Buffer;

  constructor(options: { node?: boolean } = {}) {
    chmodSync(this.directory, 0o755);
    const npm = join(this.directory, 'package');
    this.put('package/bin/npm-cli.js', npmStandIn);
    this.put('package/package.json', '{"name":"npm"}');
    execFileSync('tar', ['-C', this.directory, '-czf', `${npm}.tgz`, 'package']);
    this.tarball = readFileSync(`${npm}.tgz`);
    const digest = createHash('sha512').update(this.tarball).digest('hex');
    const script = readFileSync(scriptPath, 'utf8').replace(/^NPM_SHA512=\w+$/m, `NPM_SHA512=${digest}`);
    this.put('checkout/sampan', script);
    chmodSync(join(this.path, 'sampan'), 0o755);
    this.put('checkout/package.json', '{"name":"checkout","type":"module"}');
    this.put('checkout/package-lock.json', '{}');
    this.put('checkout/bin/sampan.ts', command);
    mkdirSync(this.tools);
    if (options.node === false) return;
    const version = /^NODE_VERSION=(.+)$/m.exec(script)?.[1] ?? '';
    mkdirSync(join(this.tools, `node-${version}`, 'bin'), { recursive: true });
    symlinkSync(process.execPath, join(this.tools, `node-${version}`, 'bin', 'node'));
  }

  put(name: string, text: string): void {
    const path = join(this.directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  /** A command that hides the machine's own: what cannot be had here, such as another kernel. */
  stub(name: string, script: string): void {
    this.put(`stubs/${name}`, `#!/bin/sh\n${script}\n`);
    chmodSync(join(this.directory, 'stubs', name), 0o755);
  }

  environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return {
      PATH: `${join(this.directory, 'stubs')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: join(this.directory, 'home'),
      SAMPAN_TOOLS: this.tools,
      NPM_RUNS: this.npmRuns,
      ...more,
    };
  }

  start(words: string[], options: { env?: NodeJS.ProcessEnv; uid?: number; via?: string[] } = {}) {
    const [program = '', ...rest] = [...(options.via ?? []), join(this.path, 'sampan'), ...words];
    const child = spawn(program, rest, {
      env: this.environment(options.env),
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.uid ? { uid: options.uid, gid: options.uid } : {}),
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
    child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
    const finished = new Promise<Finished>((done, fail) => {
      child.once('error', fail);
      child.once('close', (code) => done({ code: code ?? 137, stdout, stderr }));
    });
    return { finished, child };
  }

  run(words: string[], options: Parameters<BootstrapCheckout['start']>[1] = {}): Promise<Finished> {
    return this.start(words, options).finished;
  }

  /** The words of each run of npm. */
  runsOfNpm(): string[] {
    return existsSync(this.npmRuns) ? readFileSync(this.npmRuns, 'utf8').trim().split('\n') : [];
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A registry, or a proxy: it notes what it was asked, and answers with these bytes. */
export class TestRegistry {
  readonly asked: { url: string; headers: IncomingMessage['headers'] }[] = [];
  /** Set, an answer begins and does not end. */
  stalls = false;
  readonly #server = createServer((request, response) => {
    this.asked.push({ url: request.url ?? '', headers: request.headers });
    this.#onRequest();
    response.writeHead(200, { 'content-length': this.#bytes.length });
    if (this.stalls) response.write(this.#bytes.subarray(0, 100));
    else response.end(this.#bytes);
  });
  readonly #bytes: Buffer;
  #onRequest: () => void = () => {};

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  request(): Promise<void> {
    return new Promise((done) => (this.#onRequest = done));
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
