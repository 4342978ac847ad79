/** Sends what the platform lacks of an app: asks which files it knows, zips the others, streams one multipart request. */
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import yazl from 'yazl';
import type { Api } from '../api.ts';
import type { Package } from '../resources.ts';
import { type Source, type SourceFile, sha1 } from './files.ts';

interface MatchedResource {
  checksum: { value: string };
  size_in_bytes: number;
  path: string;
  mode: string;
}

/** Smaller files are sent rather than asked for: the question would cost more. As in cf. */
const smallestAsked = 64 * 1024;
const asked = 5000;

interface UploadSummary {
  files: number;
  sentFiles: number;
  sentBytes: number;
}

export interface PreparedUpload {
  summary: UploadSummary;
  matched: MatchedResource[];
  /** Absent: the platform has it all. */
  zip?: () => AsyncIterable<Buffer>;
}

/** Asks which of the files the platform knows. An archive is sent as it is. */
export async function prepareUpload(api: Api, source: Source): Promise<PreparedUpload> {
  if ('archive' in source) {
    const { archive, sizeBytes } = source;
    const summary = { files: 1, sentFiles: 1, sentBytes: sizeBytes };
    return { summary, matched: [], zip: () => createReadStream(archive) };
  }
  const { files } = source;
  const matched = await match(api, files);
  const send = files.filter((file) => !matched.has(file.path));
  const summary: UploadSummary = {
    files: files.length,
    sentFiles: send.length,
    sentBytes: send.reduce((sum, file) => sum + file.sizeBytes, 0),
  };
  const zip = send.length > 0 || matched.size === 0 ? { zip: () => zipped(send) } : {};
  return { summary, matched: [...matched.values()], ...zip };
}

/** Returns the package as it is then. */
export async function uploadBits(api: Api, packageGuid: string, upload: PreparedUpload): Promise<Package> {
  const boundary = `sampan-${randomBytes(16).toString('hex')}`;
  const body = Readable.from(multipart(boundary, upload));
  const path = `/v3/packages/${packageGuid}/upload`;
  return JSON.parse(await api.postRaw(path, `multipart/form-data; boundary=${boundary}`, body)) as Package;
}

async function match(api: Api, files: SourceFile[]): Promise<Map<string, MatchedResource>> {
  const large = files.filter((file) => file.link === undefined && file.sizeBytes >= smallestAsked);
  const found = new Map<string, MatchedResource>();
  for (let start = 0; start < large.length; start += asked) {
    const resources: MatchedResource[] = [];
    for (const file of large.slice(start, start + asked)) {
      resources.push({
        checksum: { value: await sha1(file) },
        size_in_bytes: file.sizeBytes,
        path: file.path,
        mode: file.mode.toString(8),
      });
    }
    const answer = await api.post<{ resources: MatchedResource[] }>('/v3/resource_matches', { resources });
    for (const resource of answer.resources) found.set(resource.path, resource);
  }
  return found;
}

async function* multipart(boundary: string, { matched, zip }: PreparedUpload): AsyncGenerator<Buffer> {
  const part = (name: string, type: string, file?: string): Buffer =>
    Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${file ? `; filename="${file}"` : ''}\r\ncontent-type: ${type}\r\n\r\n`,
    );
  if (matched.length > 0) {
    yield part('resources', 'application/json');
    yield Buffer.from(`${JSON.stringify(matched)}\r\n`);
  }
  if (zip) {
    yield part('bits', 'application/zip', 'application.zip');
    yield* zip();
    yield Buffer.from('\r\n');
  }
  yield Buffer.from(`--${boundary}--\r\n`);
}

/** Small and already compressed files gain nothing from deflate at its default level: speed counts here. */
async function* zipped(files: SourceFile[]): AsyncGenerator<Buffer> {
  const archive = new yazl.ZipFile();
  for (const file of files) {
    const options = {
      mode: (file.link === undefined ? 0o100000 : 0o120000) | file.mode,
      compressionLevel: 1,
      mtime: new Date(315_619_200_000),
    };
    if (file.link === undefined) archive.addFile(file.absolute, file.path, options);
    else archive.addBuffer(Buffer.from(file.link), file.path, options);
  }
  archive.end();
  for await (const chunk of archive.outputStream) yield chunk as Buffer;
}
