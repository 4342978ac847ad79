/**
 * A stand-in for the build container and for the app's: the same layers, unpacked into a directory, entered by chroot as
 * the same unprivileged user. There are no limits and no network of its own; what runs inside is the real lifecycle, the
 * real buildpacks and the real launcher. The whole way through a pod is tested in `test/`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { pipeline } from 'node:stream/promises';
import type { Layer } from '#platform/staging/images/oci.ts';
import type { RegistryClient } from '#platform/staging/images/registry-client.ts';

export class ChrootContainer implements Disposable {
  readonly root: string;
  readonly #directory: string;
  readonly #mounted: boolean;

  /** @param base  a container that was unpacked already: this one is an overlay over it */
  constructor(base?: ChrootContainer) {
    this.#directory = mkdtempSync(join(tmpdir(), 'staging-root-'));
    chmodSync(this.#directory, 0o755);
    this.root = join(this.#directory, 'root');
    this.#mounted = base !== undefined;
    for (const name of ['root', 'upper', 'work']) mkdirSync(join(this.#directory, name), { mode: 0o755 });
    if (base === undefined) return;
    const options = `lowerdir=${base.root},upperdir=${this.#directory}/upper,workdir=${this.#directory}/work`;
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, this.root]);
    mkdirSync(join(this.root, 'proc'), { recursive: true });
    execFileSync('mount', ['-t', 'proc', '-o', 'nosuid,nodev,noexec', 'proc', join(this.root, 'proc')]);
  }

  async unpack(registry: RegistryClient, repository: string, layers: readonly Layer[]): Promise<void> {
    for (const layer of layers) {
      const stream = await registry.readBlob(repository, layer.digest);
      if (stream === undefined) throw new Error(`no blob ${layer.digest} in ${repository}`);
      await this.unpackTar(layer.mediaType.endsWith('gzip') ? stream.pipe(createGunzip()) : stream);
    }
    // Not by cpSync, which makes empty files of devices.
    const devices = ['null', 'zero', 'urandom', 'random'].map((name) => join('/dev', name));
    const missing = devices.filter((path) => !existsSync(join(this.root, path)));
    if (missing.length > 0)
      execFileSync('cp', ['--archive', '--no-preserve=ownership', ...missing, join(this.root, 'dev')]);
  }

  async unpackTar(tar: Readable | Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    const child = spawn(
      'tar',
      ['-x', '-p', '--overwrite', '--keep-directory-symlink', '--numeric-owner', '-C', this.root],
      {
        stdio: ['pipe', 'inherit', 'inherit'],
      },
    );
    const done = new Promise<number | null>((resolve) => child.on('close', resolve));
    await pipeline(Readable.from(tar), child.stdin);
    if ((await done) !== 0) throw new Error('tar failed');
  }

  /** Of the host, so that names resolve. */
  useNetwork(): void {
    mkdirSync(join(this.root, 'etc'), { recursive: true });
    for (const file of ['resolv.conf', 'hosts'])
      cpSync(join('/etc', file), join(this.root, 'etc', file), { dereference: true });
    const ca = '/etc/ssl/certs/ca-certificates.crt';
    if (existsSync(ca)) cpSync(ca, join(this.root, ca), { dereference: true });
  }

  /** Resolves when it has ended. */
  async finish(
    command: string[],
    environment: Record<string, string> = {},
  ): Promise<{ status: number | null; output: string }> {
    const child = this.start(command, environment);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, output };
  }

  start(command: string[], environment: Record<string, string> = {}): ChildProcess {
    return spawn('chroot', ['--userspec=1000:1000', this.root, ...command], {
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/home/vcap', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  async *readDirectory(path: string): AsyncGenerator<Uint8Array> {
    const args = [
      '--userspec=1000:1000',
      this.root,
      'tar',
      '--create',
      '--file=-',
      '--directory=/',
      '--sort=name',
      '--format=posix',
      '--numeric-owner',
      `./${path}`,
    ];
    const child = spawn('chroot', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    yield* child.stdout as AsyncIterable<Buffer>;
  }

  readFile(path: string): string {
    return execFileSync('cat', [join(this.root, path)], { encoding: 'utf8' });
  }

  [Symbol.dispose](): void {
    if (this.#mounted) execFileSync('umount', [join(this.root, 'proc'), this.root]);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
