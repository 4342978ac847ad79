/**
 * Takes a multipart upload: fields in memory, the file to a temporary file, so that memory does not grow with the upload.
 * Limits hold while it streams; a full disk and a client that goes away leave nothing behind.
 */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StagingError } from '../../staging/staging.ts';
import { CloudFoundryError } from '../errors.ts';

const MAX_FIELD_BYTES = 64 * 1024 * 1024;
export const MAX_UPLOAD_BYTES = 1024 * 1024 * 1024;

export interface Upload extends AsyncDisposable {
  fields: Map<string, string>;
  /** Path of the file part, when there was one. */
  file: string | undefined;
  /** What the client calls it: its last part, of harmless characters. */
  filename: string | undefined;
}

function invalid(detail: string, options?: ErrorOptions): CloudFoundryError {
  return new CloudFoundryError('AppBitsUploadInvalid', `The app upload is invalid: ${detail}`, options);
}

/** @param fileFields  names under which the file may come */
export async function receiveUpload(
  request: IncomingMessage,
  options: { directory: string; fileFields: string[]; maxBytes?: number; signal: AbortSignal },
): Promise<Upload> {
  const type = request.headers['content-type'] ?? '';
  if (!/^multipart\/form-data\s*;.*boundary=/i.test(type)) {
    throw invalid('expected multipart/form-data with the parts "bits" (a zip file) and "resources" (JSON)');
  }
  const maxBytes = options.maxBytes ?? MAX_UPLOAD_BYTES;
  if (Number(request.headers['content-length'] ?? 0) > maxBytes + MAX_FIELD_BYTES) throw tooLarge(maxBytes);
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => undefined);
  // Before anything is waited for: a client may be gone by then.
  request.once('close', () => {
    if (!request.complete) ended.reject(new Error('the connection was closed'));
  });
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const { Busboy } = await import('@fastify/busboy');
  const path = join(options.directory, `upload-${randomUUID()}`);
  const fields = new Map<string, string>();
  let file: string | undefined;
  let filename: string | undefined;
  let source: Readable | undefined;
  let writing: Promise<void> = Promise.resolve();
  let problem: CloudFoundryError | undefined;
  const remove = () => rm(path, { force: true });
  let parser: InstanceType<typeof Busboy> | undefined;
  try {
    parser = new Busboy({
      headers: { ...request.headers, 'content-type': type },
      limits: { fileSize: maxBytes, files: 1, fields: 10, parts: 12, fieldSize: MAX_FIELD_BYTES, fieldNameSize: 100 },
    });
    parser.on('field', (name, value, _nameTruncated, valueTruncated) => {
      if (valueTruncated) problem ??= invalid(`the part "${name}" is larger than ${MAX_FIELD_BYTES} bytes`);
      fields.set(name, value);
    });
    parser.on('file', (name, stream, called) => {
      if (!options.fileFields.includes(name) || file !== undefined) {
        stream.resume();
        return;
      }
      file = path;
      filename = plainName(called);
      source = stream;
      stream.on('limit', () => {
        problem ??= tooLarge(maxBytes);
      });
      writing = pipeline(stream, createWriteStream(path, { mode: 0o600 })).catch((error: unknown) => {
        problem ??= diskProblem(error);
        ended.reject(problem);
      });
    });
    for (const event of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
      parser.on(event, () => {
        problem ??= invalid('it has too many parts');
      });
    }
    parser.once('finish', () => ended.resolve());
    parser.once('error', (error: Error) => ended.reject(error));
    options.signal.addEventListener('abort', () => ended.reject(options.signal.reason), { once: true });
    request.pipe(parser);
    await ended.promise;
    await writing;
    if (problem) throw problem;
  } catch (error) {
    // The rest is read and thrown away: a client that is cut off while it sends never sees the answer.
    if (parser) request.unpipe(parser);
    request.resume();
    const known = problem;
    source?.destroy();
    await writing;
    await remove();
    if (known) throw known;
    throw invalid(`it ended early or is malformed (${(error as Error).message})`, { cause: error });
  }
  return { fields, file, filename, [Symbol.asyncDispose]: remove };
}

function plainName(name: string | undefined): string | undefined {
  const last = name
    ?.split(/[/\\]/)
    .at(-1)
    ?.replaceAll(/[^A-Za-z0-9._+-]/g, '_')
    .slice(0, 200);
  return last === '' ? undefined : last;
}

/** What staging refused, in Cloud Foundry's words; anything else as it is. */
export function uploadProblem(error: unknown): unknown {
  if (!(error instanceof StagingError)) return error;
  if (error.code === 'disk-full') return new CloudFoundryError('InsufficientStorage', error.message, { cause: error });
  if (error.code === 'registry') return new CloudFoundryError('ServiceUnavailable', error.message, { cause: error });
  return invalid(error.message, { cause: error });
}

function tooLarge(maxBytes: number): CloudFoundryError {
  return invalid(`it is larger than ${Math.floor(maxBytes / 1024 / 1024)} MiB`);
}

function diskProblem(error: unknown): CloudFoundryError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new CloudFoundryError(
      'InsufficientStorage',
      "There is no space left on the platform's disk for this upload. Free some, then push again.",
      { cause: error },
    );
  }
  return invalid(`it could not be stored (${code ?? 'unknown error'})`, { cause: error });
}
