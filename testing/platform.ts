/**
 * A whole platform for end-to-end tests: an instance of its own on free ports with its own data, driven through the real
 * commands and clients only. Taken down with everything it made when the test file ends.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { processesWith } from './processes.ts';

const entry = join(import.meta.dirname, '..', 'bin', 'sampan.ts');
const nodeFlags = ['--experimental-ffi', '--disable-warning=ExperimentalWarning'];

export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

export interface InstanceFile {
  name: string;
  domain: string;
  dataDirectory: string;
  runDirectory: string;
  nodeName: string;
  ports: { http: number; https: number; kubernetes: number; registry: number; ssh: number };
  network: { clusterCidr: string; podCidr: string };
}

export class TestPlatform {
  readonly name: string;
  readonly directory: string;
  readonly dataDirectory: string;

  /** The process's number is put behind the name: two runs of one test on one machine do not meet. */
  constructor(name: string) {
    this.name = `${name}-${process.pid % 10_000}`;
    this.directory = mkdtempSync(join(tmpdir(), `sampan-test-${name}-`));
    this.dataDirectory = join(this.directory, 'data');
  }

  get environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      SAMPAN_NAME: this.name,
      SAMPAN_DATA: this.dataDirectory,
      SAMPAN_HTTP: '0',
      SAMPAN_HTTPS: '0',
      SAMPAN_KUBERNETES: '0',
      SAMPAN_REGISTRY: '0',
      SAMPAN_SSH: '0',
      SAMPAN_HOME: join(this.directory, 'home'),
      NODE_TEST_CONTEXT: undefined,
      // As the launcher does.
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '/var/cache/sampan/compile',
    };
  }

  get instance(): InstanceFile {
    return JSON.parse(readFileSync(join(this.dataDirectory, 'instance.json'), 'utf8')) as InstanceFile;
  }

  /** `sampan …` as the words of a command. */
  command(...words: string[]): string[] {
    return [process.execPath, ...nodeFlags, entry, ...words];
  }

  /** Runs `sampan …`; never rejects for an exit status. */
  sampan(...words: string[]): Promise<Finished> {
    return finish(process.execPath, [...nodeFlags, entry, ...words], { env: this.environment });
  }

  /** As `sampan`, and an error with all that was printed when it fails. */
  async must(...words: string[]): Promise<string> {
    const result = await this.sampan(...words);
    if (result.code !== 0)
      throw new Error(
        `sampan ${words.join(' ')} ended with ${result.code}\n${result.stdout}\n${result.stderr}\n${this.logTail()}`,
      );
    return result.stdout;
  }

  async mustJson<T>(...words: string[]): Promise<T> {
    return JSON.parse(await this.must(...words, '--json')) as T;
  }

  kubectl(...words: string[]): Promise<Finished> {
    return finish('kubectl', ['--kubeconfig', join(this.dataDirectory, 'kubeconfig'), ...words], { env: process.env });
  }

  /** As whoever is logged in at the platform: `sampan kubernetes-token` is kubectl's plugin. @param version  of client.authentication.k8s.io */
  async kubectlAsUser(version: 'v1' | 'v1beta1', ...words: string[]): Promise<Finished> {
    const config = join(this.directory, 'user-kubeconfig');
    const ca = readFileSync(join(this.dataDirectory, 'pki', 'ca.crt')).toString('base64');
    const cluster = {
      server: `https://127.0.0.1:${this.instance.ports.kubernetes}`,
      'certificate-authority-data': ca,
    };
    const exec = {
      apiVersion: `client.authentication.k8s.io/${version}`,
      command: join(import.meta.dirname, '..', 'sampan'),
      args: ['kubernetes-token'],
      ...(version === 'v1' ? { interactiveMode: 'Never' } : {}),
    };
    writeFileSync(
      config,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'here', cluster }],
        users: [{ name: 'me', user: { exec } }],
        contexts: [{ name: 'x', context: { cluster: 'here', user: 'me' } }],
        'current-context': 'x',
      }),
    );
    return finish('kubectl', ['--kubeconfig', config, ...words], { env: this.environment });
  }

  async mustKubectl(...words: string[]): Promise<string> {
    const result = await this.kubectl(...words);
    if (result.code !== 0)
      throw new Error(`kubectl ${words.join(' ')} ended with ${result.code}\n${result.stdout}\n${result.stderr}`);
    return result.stdout;
  }

  docker(...words: string[]): Promise<Finished> {
    return finish('docker', ['-H', `unix://${join(this.instance.runDirectory, 'docker.sock')}`, ...words], {
      env: process.env,
    });
  }

  /** Its processes of that role, without what keeps them alive. */
  roles(role: string): number[] {
    const fits = (line: string) =>
      line.includes(`sampan.ts role ${role}`) && line.includes(this.dataDirectory) && !line.includes('sampan-keeper-');
    return processesWith(fits).map(({ pid }) => pid);
  }

  /** One request through the router's http port. Status 0 when no answer came. */
  ask(
    host: string,
    options: { path?: string; headers?: Record<string, string>; method?: string; body?: string; timeout?: number } = {},
  ): Promise<{ status: number; body: string; headers: Record<string, unknown> }> {
    return new Promise((done) => {
      const call = request(
        {
          host: '127.0.0.1',
          port: this.instance.ports.http,
          path: options.path ?? '/',
          method: options.method ?? 'GET',
          headers: { host, ...options.headers },
          timeout: options.timeout ?? 10_000,
          agent: false,
        },
        (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (part: string) => (body += part));
          response.once('end', () => done({ status: response.statusCode ?? 0, body, headers: response.headers }));
          response.once('error', (error) => done({ status: 0, body: error.message, headers: {} }));
        },
      );
      call.once('timeout', () => call.destroy(new Error('timeout')));
      call.once('error', (error) => done({ status: 0, body: error.message, headers: {} }));
      call.end(options.body);
    });
  }

  host(app: string): string {
    return `${app}.${this.instance.domain}`;
  }

  /** A background program of ours, `sampan …`; its output is collected. */
  start(...words: string[]): { output: () => string; stop: () => Promise<number>; kill: () => void } {
    const child = spawn(process.execPath, [...nodeFlags, entry, ...words], {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.on('data', (part: Buffer) => (text += part.toString()));
    child.stderr.on('data', (part: Buffer) => (text += part.toString()));
    const closed = new Promise<number>((done) => child.once('close', (code) => done(code ?? 1)));
    return {
      output: () => text,
      stop: () => {
        child.kill('SIGINT');
        return closed;
      },
      kill: () => void child.kill('SIGKILL'),
    };
  }

  logTail(): string {
    return ['server', 'agent', 'platform']
      .map((role) => {
        try {
          return `--- ${role}\n${readFileSync(join(this.dataDirectory, 'log', `${role}.log`), 'utf8')
            .split('\n')
            .slice(-15)
            .join('\n')}`;
        } catch {
          return `--- ${role}: no log`;
        }
      })
      .join('\n');
  }

  /** Takes everything down and removes it; an error when that fails. */
  async purge(): Promise<void> {
    const result = await this.sampan('down', '--purge');
    rmSync(this.directory, { recursive: true, force: true });
    if (result.code !== 0)
      throw new Error(`down --purge ended with ${result.code}\n${result.stdout}\n${result.stderr}`);
  }
}

/** Runs a program to its end; never rejects for an exit status. */
export function finish(
  command: string,
  words: string[],
  options: { env?: NodeJS.ProcessEnv; input?: string; cwd?: string; timeout?: number } = {},
): Promise<Finished> {
  return new Promise((done, fail) => {
    const child = execFile(
      command,
      words,
      {
        env: options.env,
        cwd: options.cwd,
        maxBuffer: 64 * 1024 * 1024,
        timeout: options.timeout ?? 300_000,
        killSignal: 'SIGKILL',
      },
      (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number' && !error.killed) fail(error);
        else done({ code: error ? (typeof error.code === 'number' ? error.code : 137) : 0, stdout, stderr });
      },
    );
    if (options.input !== undefined) child.stdin?.end(options.input);
  });
}

/** Resolves with the first result that is not undefined or false; looks again as soon as it can. For what has no event. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>, seconds = 30): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`${what}: did not come true in ${seconds} s`);
    await delay(50);
  }
}

/** Requests one after another on some connections until `stop`; every answer that is not 200 is kept. */
export class Load {
  requests = 0;
  readonly failures: string[] = [];
  #stopped = false;
  readonly #workers: Promise<void>[];

  constructor(platform: TestPlatform, host: string, connections = 4) {
    this.#workers = Array.from({ length: connections }, async () => {
      while (!this.#stopped) {
        const answer = await platform.ask(host);
        this.requests++;
        if (answer.status !== 200)
          this.failures.push(`${new Date().toISOString()} ${answer.status} ${answer.body.slice(0, 120)}`);
        await delay(5);
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }
}
