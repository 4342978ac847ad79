/**
 * The unpacked layers of a node: `layers/<hex of the diff id>/` with `fs/` (the files) and `layer.json` (their size).
 * A layer is there whole or not at all: unpacked aside, renamed.
 *
 * It can be used before it is on the disk: until then its record says by which boot of the machine it was unpacked. What a killed process
 * left is whole in the page cache; what a boot after that finds may not be, and is unpacked again. Writing it out waits a moment,
 * as whoever asked for it has other writes to make.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { ASIDE_PREFIX, writeFileAtomic } from '#lib/atomic-file.ts';
import { bootId } from '#lib/boot-id.ts';
import { parseDigest } from '#lib/digest.ts';
import { SingleFlight } from '#lib/single-flight.ts';
import { EngineError } from '../engine.ts';
import { touchPath } from './content.ts';
import type { ContentStore } from './store.ts';
import { type UnpackLimits, unpackLayer } from './unpack.ts';
import { ignoreMissing } from './uploads.ts';

/** How long writing out waits for what is unpacked next. Milliseconds. */
const REST = 2000;

interface LayerRecord {
  diffId: string;
  blob: string;
  sizeBytes: number;
  /** Which boot of the machine unpacked it, until it is on the disk. */
  boot?: string;
}

export class Layers {
  readonly #content: ContentStore;
  readonly #directory: string;
  readonly #limits: Partial<UnpackLimits>;
  readonly #flights = new SingleFlight<void>();
  /** Of those that may be used. */
  readonly #records = new Map<string, LayerRecord>();
  /** Of those that are to be written out. */
  readonly #unwritten = new Map<string, LayerRecord>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(content: ContentStore, limits: Partial<UnpackLimits> = {}) {
    this.#content = content;
    this.#directory = join(content.directory, 'layers');
    this.#limits = limits;
  }

  /** The directory with the layer's files; undefined while it is not unpacked. Its age starts anew. */
  directory(diffId: string): string | undefined {
    const path = this.#path(diffId);
    if (touchPath(path)) return this.#record(diffId) && join(path, 'fs');
    this.#records.delete(diffId);
    return undefined;
  }

  sizeBytes(diffId: string): number {
    return this.#record(diffId)?.sizeBytes ?? 0;
  }

  /** Undefined where there is none, where it is torn, and where the machine was booted before it was written out. */
  #record(diffId: string): LayerRecord | undefined {
    const known = this.#records.get(diffId);
    if (known !== undefined) return known;
    const record = readLayerRecord(join(this.#path(diffId), 'layer.json'));
    if (record === undefined || isLost(record)) return undefined;
    this.#records.set(diffId, record);
    if (record.boot !== undefined) this.#writeLater(record);
    return record;
  }

  /** Unpacks the blob unless that was done; at the same time for several images it is done once. */
  async ensure(blob: string, diffId: string, signal?: AbortSignal): Promise<void> {
    if (this.directory(diffId) !== undefined) return;
    await this.#flights.run(diffId, signal, (shared) => this.#unpack(blob, diffId, shared));
  }

  async #unpack(blob: string, diffId: string, signal: AbortSignal): Promise<void> {
    const aside = join(this.#directory, `${ASIDE_PREFIX}${randomBytes(8).toString('hex')}`);
    const directory = join(aside, 'fs');
    const info = await this.#content.stat(blob);
    if (info === undefined)
      throw new EngineError('not-found', `layer ${blob} is not in the content store; pull the image again`);
    let source: Readable | undefined;
    try {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      source = await this.#content.read(blob);
      const { sizeBytes } = await unpackLayer({
        source,
        sourceBytes: info.sizeBytes,
        directory,
        diffId,
        limits: this.#limits,
        signal,
      });
      const record: LayerRecord = { diffId, blob, sizeBytes, boot: bootId() };
      await writeFile(join(aside, 'layer.json'), JSON.stringify(record));
      signal.throwIfAborted();
      // One that a boot left half written, or whose record is torn.
      await rm(this.#path(diffId), { recursive: true, force: true });
      await rename(aside, this.#path(diffId));
      touchPath(this.#path(diffId));
      this.#records.set(diffId, record);
      this.#writeLater(record);
    } catch (error) {
      await rm(aside, { recursive: true, force: true });
      throw error;
    } finally {
      source?.destroy();
    }
  }

  /** What was not written out by then is by whoever opens it next. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#writing;
  }

  #writeLater(record: LayerRecord): void {
    this.#unwritten.set(record.diffId, record);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Where it fails they keep their mark, and the next that is unpacked takes them with it.
      this.#writing = this.#write().catch(() => undefined);
    }, REST).unref();
  }

  /** Once their files are on the disk their records say so. */
  async #write(): Promise<void> {
    const unwritten = [...this.#unwritten];
    await syncFileSystem(this.#directory);
    for (const [diffId, record] of unwritten) {
      // Collected, and unpacked again meanwhile: that one's turn comes.
      if (this.#unwritten.get(diffId) !== record) continue;
      this.#unwritten.delete(diffId);
      const { boot: _, ...durable } = record;
      // It may have been collected.
      await writeFileAtomic(join(this.#path(diffId), 'layer.json'), JSON.stringify(durable)).catch(ignoreMissing);
    }
  }

  #path(diffId: string): string {
    const parsed = parseDigest(diffId);
    if (parsed?.algorithm !== 'sha256') {
      throw new EngineError('invalid', `diff id ${JSON.stringify(diffId)} is not sha256:<64 hex digits>`);
    }
    return join(this.#directory, parsed.hex);
  }
}

/** Undefined where there is none that is whole. */
export function readLayerRecord(file: string): LayerRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as Partial<LayerRecord> | null;
    return typeof record?.diffId === 'string' ? (record as LayerRecord) : undefined;
  } catch {
    // Missing or cut short: torn either way.
    return undefined;
  }
}

/** The machine was booted before it was on the disk. */
export function isLost({ boot }: Pick<LayerRecord, 'boot'>): boolean {
  return boot !== undefined && boot !== bootId();
}

/** One file system's dirty pages, by coreutils' `sync -f` (syncfs); Node has no call for it. */
async function syncFileSystem(directory: string): Promise<void> {
  await promisify(execFile)('sync', ['-f', directory]);
}
