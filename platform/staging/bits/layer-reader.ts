/** Reads files out of a layer that lies uncompressed in the registry, small neighbours with one request. */
import type { RegistryClient } from '../images/registry-client.ts';
import { StagingError } from '../staging.ts';

const WINDOW = 4 * 1024 * 1024;

export class LayerReader {
  readonly #registry: RegistryClient;
  readonly #repository: string;
  readonly #digest: string;
  #window = Buffer.alloc(0);
  #start = 0;

  constructor(registry: RegistryClient, repository: string, digest: string) {
    this.#registry = registry;
    this.#repository = repository;
    this.#digest = digest;
  }

  async *read(offset: number, sizeBytes: number): AsyncGenerator<Buffer> {
    if (sizeBytes === 0) return;
    if (sizeBytes > WINDOW) {
      yield* await this.#open(offset, offset + sizeBytes - 1);
      return;
    }
    if (offset < this.#start || offset + sizeBytes > this.#start + this.#window.length) {
      // A range beyond the end is cut by the registry; the end blocks of the archive are behind every file.
      const chunks = await Array.fromAsync(await this.#open(offset, offset + WINDOW - 1));
      this.#window = Buffer.concat(chunks);
      this.#start = offset;
    }
    yield this.#window.subarray(offset - this.#start, offset - this.#start + sizeBytes);
  }

  async #open(start: number, end: number): Promise<AsyncIterable<Buffer>> {
    const stream = await this.#registry.readBlob(this.#repository, this.#digest, { start, end });
    if (stream === undefined) throw new StagingError('registry', `registry lost layer ${this.#digest}`);
    return stream as AsyncIterable<Buffer>;
  }
}
