/**
 * Backups in the registry: an image of one layer each, in the repository of its database, tagged with the backup's id. The list of a
 * database is in its object; what is in the registry beside it is left from a backup that was broken off, and goes with the next one.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { imageManifest } from '../../staging/images/oci.ts';
import type { RegistryClient } from '../../staging/images/registry-client.ts';
import { BrokerError } from '../postgres.ts';

const DUMP_TYPE = 'application/vnd.sampan.postgres.dump';
const CONFIG_TYPE = 'application/vnd.oci.empty.v1+json';

export interface StoredDump {
  digest: string;
  sizeBytes: number;
}

export interface BackupStore {
  write(database: string, id: string, dump: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<StoredDump>;
  /** Its bytes; an error behind them where they are others than were written. */
  read(database: string, digest: string, signal: AbortSignal): Promise<Readable>;
  /** Removes all but these. */
  keep(database: string, ids: readonly string[], signal: AbortSignal): Promise<void>;
}

function repository(database: string): string {
  return `postgres/${database}`;
}

export function openBackupStore(registry: RegistryClient): BackupStore {
  return {
    async write(database, id, dump, signal) {
      const hash = createHash('sha256');
      let sizeBytes = 0;
      let digest = '';
      async function* hashed(): AsyncGenerator<Uint8Array> {
        for await (const chunk of dump) {
          hash.update(chunk);
          sizeBytes += chunk.byteLength;
          yield chunk;
        }
        digest = `sha256:${hash.digest('hex')}`;
      }
      await registry.streamBlob(repository(database), hashed(), () => digest, signal);
      const config = Buffer.from('{}');
      await registry.putBlob(repository(database), config, signal);
      const layers = [{ mediaType: DUMP_TYPE, digest, sizeBytes, diffId: digest }];
      const annotations = { 'dev.sampan.postgres.backup': id };
      const manifest = imageManifest({
        config,
        configMediaType: CONFIG_TYPE,
        artifactType: DUMP_TYPE,
        layers,
        annotations,
      });
      await registry.putManifest(repository(database), id, manifest, { signal });
      return { digest, sizeBytes };
    },
    async read(database, digest, signal) {
      const stream = await registry.readBlob(repository(database), digest, { signal });
      if (stream === undefined) throw new BrokerError(500, `The backup ${digest} is not in the registry any more.`);
      return Readable.from(verified(stream, digest), { objectMode: false });
    },
    async keep(database, ids, signal) {
      for (const tag of await registry.tags(repository(database), signal)) {
        if (ids.includes(tag)) continue;
        // By its digest: what has lost its tag alone is kept for days.
        const { digest = tag } = (await registry.getManifest(repository(database), tag, signal)) ?? {};
        await registry.deleteManifest(repository(database), digest, signal);
      }
    },
  };
}

async function* verified(stream: AsyncIterable<Buffer>, digest: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of stream) {
    hash.update(chunk);
    yield chunk;
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest) throw new BrokerError(500, `The backup ${digest} was read as ${found}: it is damaged.`);
}
