/** Reads the lists of files that need not be uploaded. */
import type { Resource } from '../../staging/staging.ts';
import { CloudFoundryError, unprocessable } from '../errors.ts';
import { isObject } from '../validate.ts';

const MAX_RESOURCES = 200_000;

export function parseResources(text: string | undefined): unknown {
  if (text === undefined || text.trim() === '') return [];
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CloudFoundryError('AppBitsUploadInvalid', 'The app upload is invalid: "resources" is not JSON', {
      cause,
    });
  }
}

/** Cloud Foundry's v3 form (`checksum.value`, `size_in_bytes`) and the older one (`sha1`, `size`, `fn`). */
export function readResources(value: unknown, options: { paths: boolean }): Resource[] {
  if (!Array.isArray(value)) throw unprocessable('Resources must be an array');
  if (value.length > MAX_RESOURCES) throw unprocessable(`Resources must be at most ${MAX_RESOURCES}`);
  return value.map((entry: unknown, index) => {
    const item = isObject(entry) ? entry : {};
    const checksum = isObject(item.checksum) ? item.checksum.value : item.sha1;
    const size = item.size_in_bytes ?? item.size;
    const path = item.path ?? item.fn ?? '';
    const mode = item.mode ?? '644';
    if (typeof checksum !== 'string' || !/^[0-9a-f]{40}$/i.test(checksum)) {
      throw unprocessable(`Resources[${index}] checksum must be a SHA-1 of 40 hexadecimal digits`);
    }
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
      throw unprocessable(`Resources[${index}] size_in_bytes must be a non-negative integer`);
    }
    if (typeof path !== 'string' || (options.paths && path === '')) {
      throw unprocessable(`Resources[${index}] path must be a non-empty string`);
    }
    if (typeof mode !== 'string' || !/^[0-7]{1,6}$/.test(mode)) {
      throw unprocessable(`Resources[${index}] mode must be octal digits, as in "644"`);
    }
    return { sha1: checksum.toLowerCase(), sizeBytes: size, path, mode: Number.parseInt(mode, 8) & 0o777 };
  });
}
