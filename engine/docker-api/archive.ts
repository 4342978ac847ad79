/** `/containers/{id}/archive`: what `docker cp` does. */
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { decompressed } from '../images/unpack.ts';
import { EngineError } from '../engine.ts';
import type { PathStat } from '../verbs.ts';
import { answerEmpty, type Call, findContainer, flag } from './call.ts';
import { DockerError } from './errors.ts';

/** Go's os.FileMode, which Docker's clients read: type in the high bits, permissions in the low nine. */
const TYPE_BITS: Readonly<Record<PathStat['type'], number>> = {
  file: 0,
  directory: 2 ** 31,
  symlink: 2 ** 27,
  'block-device': 2 ** 26,
  'character-device': 2 ** 26 + 2 ** 21,
  fifo: 2 ** 25,
  socket: 2 ** 24,
};

export async function headArchive(call: Call): Promise<void> {
  const { id } = findContainer(call, call.path['id'] ?? '');
  const stat = await call.engine.statPath(id, pathOf(call)).catch((error: unknown) => {
    throw named(call, id, error);
  });
  call.response.setHeader('x-docker-container-path-stat', statHeader(stat));
  answerEmpty(call, 200);
}

export async function getArchive(call: Call): Promise<void> {
  const { id } = findContainer(call, call.path['id'] ?? '');
  const { stat, archive } = await call.engine.readArchive(id, pathOf(call)).catch((error: unknown) => {
    throw named(call, id, error);
  });
  call.response.writeHead(200, {
    'content-type': 'application/x-tar',
    'x-docker-container-path-stat': statHeader(stat),
  });
  await pipeline(archive, call.response);
}

export async function putArchive(call: Call): Promise<void> {
  const { id } = findContainer(call, call.path['id'] ?? '');
  call.docker.requireOwn(call.engine.container(id) ?? findContainer(call, id), 'copy to');
  const gone = new AbortController();
  call.request.on('aborted', () => gone.abort(new EngineError('unavailable', 'the client went away')));
  const body: Readable = call.request;
  try {
    await call.engine.writeArchive(id, pathOf(call), await decompressed(body), {
      ownedByUser: flag(call, 'copyUIDGID'),
      keepKinds: flag(call, 'noOverwriteDirNonDir'),
      signal: gone.signal,
    });
  } catch (error) {
    // What the client still sends is not read any more; it must be told all the same.
    body.resume();
    if (error instanceof EngineError && error.message.includes('marked read-only'))
      throw new DockerError(403, error.message, { cause: error });
    throw named(call, id, error);
  }
  answerEmpty(call, 200);
}

/** As Docker does, it is called what the client called it. */
function named(call: Call, id: string, error: unknown): unknown {
  if (!(error instanceof EngineError)) return error;
  return new EngineError(error.code, error.message.replaceAll(id, call.path['id'] ?? id), { cause: error });
}

function pathOf(call: Call): string {
  const path = call.query.get('path') ?? '';
  if (path === '') throw new DockerError(400, 'missing query parameter: path');
  return path;
}

function statHeader({ name, type, sizeBytes, mode, modifiedAt, linkTarget }: PathStat): string {
  const special =
    ((mode & 0o4000) === 0 ? 0 : 2 ** 23) +
    ((mode & 0o2000) === 0 ? 0 : 2 ** 22) +
    ((mode & 0o1000) === 0 ? 0 : 2 ** 20);
  const view = {
    name,
    size: sizeBytes,
    mode: TYPE_BITS[type] + special + (mode & 0o777),
    mtime: new Date(modifiedAt).toISOString(),
    linkTarget: linkTarget ?? '',
  };
  return Buffer.from(JSON.stringify(view)).toString('base64');
}
