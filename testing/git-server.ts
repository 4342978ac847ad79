/** Real git repositories over HTTP, served by git's own `http-backend`; and files beside them. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Text, a program (`run`), or a link. */
export type RepositoryFile = string | Buffer | { run: string } | { link: string };

export class GitServer implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'git-server-'));
  readonly #server = createServer((request, response) => this.#serve(request, response));
  readonly #files = new Map<string, Buffer>();
  /** Requests that came, as `GET /path`. */
  readonly asked: string[] = [];

  async listen(host = '127.0.0.1'): Promise<this> {
    this.#server.listen(0, host);
    await once(this.#server, 'listening');
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(path: string, host = '127.0.0.1'): string {
    return `http://${host}:${this.port}/${path}`;
  }

  /** Git in a repository, which is made when it is not there. Returns what it printed. */
  git(repository: string, words: string[], input?: Buffer): string {
    const directory = join(this.#directory, repository);
    mkdirSync(directory, { recursive: true });
    const env = {
      PATH: process.env['PATH'],
      HOME: this.#directory,
      GIT_CONFIG_NOSYSTEM: '1',
      ...Object.fromEntries(['AUTHOR', 'COMMITTER'].flatMap((who) => identity(who))),
    };
    const run = (args: string[], stdin?: Buffer) =>
      execFileSync('git', ['-C', directory, ...args], {
        env,
        encoding: 'utf8',
        // A program that reads nothing may have ended before it is written to.
        ...(stdin === undefined ? { stdio: ['ignore', 'pipe', 'pipe'] } : { input: stdin, stdio: 'pipe' }),
      });
    try {
      run(['rev-parse', '--git-dir']);
    } catch {
      run(['init', '--quiet', '--initial-branch=main']);
      run(['config', 'uploadpack.allowReachableSHA1InWant', 'true']);
      // It would go on in the background, when the directory is removed.
      run(['config', 'gc.auto', '0']);
    }
    return run(words, input).trim();
  }

  /** Returns the commit. */
  commit(repository: string, files: Record<string, RepositoryFile>): string {
    this.git(repository, ['status']);
    for (const [name, content] of Object.entries(files)) {
      const path = join(this.#directory, repository, name);
      mkdirSync(dirname(path), { recursive: true });
      if (typeof content === 'string' || Buffer.isBuffer(content)) writeFileSync(path, content);
      else if ('link' in content) symlinkSync(content.link, path);
      else {
        writeFileSync(path, content.run);
        chmodSync(path, 0o755);
      }
    }
    this.git(repository, ['add', '--all']);
    this.git(repository, ['commit', '--quiet', '--message', 'a change']);
    return this.git(repository, ['rev-parse', 'HEAD']);
  }

  /** An archive of a repository's state, as `/<name>`. */
  archive(repository: string, name: string, prefix = ''): void {
    const file = join(this.#directory, name);
    const format = name.endsWith('.zip') ? 'zip' : 'tar.gz';
    this.git(repository, ['archive', `--format=${format}`, `--prefix=${prefix}`, `--output=${file}`, 'HEAD']);
    this.#files.set(`/${name}`, readFileSync(file));
  }

  file(name: string, content: Buffer): void {
    this.#files.set(`/${name}`, content);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://here');
    this.asked.push(`${request.method} ${url.pathname}`);
    const file = this.#files.get(url.pathname);
    if (file !== undefined) {
      response.end(file);
      return;
    }
    // As a CGI program (RFC 3875).
    const backend = spawn('git', ['http-backend'], {
      env: {
        PATH: process.env['PATH'],
        GIT_PROJECT_ROOT: this.#directory,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_CONFIG_NOSYSTEM: '1',
        HOME: this.#directory,
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: request.headers['content-type'] ?? '',
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const chunks: Buffer[] = [];
    backend.stdin.on('error', () => undefined);
    request.pipe(backend.stdin);
    backend.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    backend.on('close', () => {
      const whole = Buffer.concat(chunks);
      const end = whole.indexOf('\r\n\r\n');
      const headers = whole.toString('latin1', 0, Math.max(0, end)).split('\r\n');
      for (const header of headers) {
        const [name = '', value = ''] = header.split(': ');
        if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
        else if (name !== '') response.setHeader(name, value);
      }
      response.end(whole.subarray(end + 4));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function identity(who: string): [string, string][] {
  return [
    [`GIT_${who}_NAME`, 'test'],
    [`GIT_${who}_EMAIL`, 'test@example.com'],
  ];
}
