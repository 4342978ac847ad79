/** Droplets as files, and for other apps. See `DropletFiles` in `staging.ts`. */
import { Readable } from 'node:stream';
import { constants, createGzip } from 'node:zlib';
import { appRepository } from '../bits/package-image.ts';
import { readBillOfMaterials } from '../export/bill-of-materials.ts';
import { copyImage } from '../images/copy-image.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import type { DropletFiles } from '../staging.ts';
import { writeArchive } from './archive-write.ts';
import { type ArchiveLimits, limits as defaultLimits, storeArchive } from './archive-read.ts';

export function createDropletFiles(
  registry: RegistryClient,
  limits: ArchiveLimits = defaultLimits,
): Omit<DropletFiles, 'rebase'> {
  return {
    async read(image) {
      const archive = Readable.from(await writeArchive(registry, image), { objectMode: false });
      // Layers are compressed already: gzip is only the form that clients expect, and costs a checksum.
      const gzip = createGzip({ level: constants.Z_NO_COMPRESSION, chunkSize: 256 * 1024 });
      archive.on('error', (error) => gzip.destroy(error));
      gzip.on('close', () => archive.destroy());
      return archive.pipe(gzip);
    },

    billOfMaterials: (image) => readBillOfMaterials(registry, image),

    store: ({ app, droplet, file, signal }) =>
      storeArchive({ registry, repository: appRepository(app), tag: tagOf(droplet), file, limits, signal }),

    copy: ({ image, app, droplet }) =>
      copyImage(registry, image, { repository: appRepository(app), tags: () => [tagOf(droplet)] }),
  };
}

function tagOf(droplet: string): string {
  return `droplet-${droplet}`;
}
