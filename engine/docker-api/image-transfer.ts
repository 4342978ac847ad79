/** `/images/create` (pull and import), push, tag, remove, prune. Progress is a line of JSON for each step. */
import type { Image, PullOptions, PullProgress } from '../engine.ts';
import { answerJson, answerEmpty, type Call, familiarName, findImage, flag, hubName } from './call.ts';
import { DockerError } from './errors.ts';
import { parseFilters } from './filters.ts';
import { importImage } from './image-archive.ts';
import { momentBefore } from './lifecycle.ts';
import { Progress } from './progress.ts';

export async function createImage(call: Call): Promise<void> {
  if ((call.query.get('fromSrc') ?? '') !== '') return await importImage(call);
  const from = call.query.get('fromImage') ?? '';
  if (from === '') throw new DockerError(400, 'invalid parameter: fromImage is empty: name the image to pull');
  const tag = call.query.get('tag') ?? '';
  const reference = hubName(tag === '' ? from : `${from}${tag.includes(':') ? '@' : ':'}${tag}`);
  const platform = (call.query.get('platform') ?? '').split('/');
  if (platform[0] !== '' && platform[0] !== 'linux')
    throw new DockerError(400, `invalid parameter: platform ${call.query.get('platform')} is not linux/ARCHITECTURE`);
  const progress = new Progress(call);
  try {
    const before = call.engine.images.get(reference)?.digest;
    const image = await call.engine.images.pull(reference, {
      ...transferOptions(call),
      ...(platform[1] === undefined ? {} : { architecture: platform[1] }),
      onProgress: reporter(progress, {
        downloading: 'Downloading',
        unpacking: 'Extracting',
        done: 'Pull complete',
        exists: 'Already exists',
      }),
    });
    progress.say({ status: `Digest: ${image.digest}` });
    const what = image.digest === before ? 'Image is up to date for' : 'Downloaded newer image for';
    progress.say({ status: `Status: ${what} ${familiarName(reference)}` });
    progress.end();
  } catch (error) {
    progress.end(error);
  }
}

export async function pushImage(call: Call): Promise<void> {
  const name = call.path['name'] ?? '';
  const { images } = call.engine;
  if (images.push === undefined) throw new DockerError(501, 'this engine does not push');
  const tag = call.query.get('tag') || 'latest';
  const reference = hubName(`${name}:${tag}`);
  if (images.get(reference) === undefined)
    throw new DockerError(404, `An image does not exist locally with the tag: ${name}`);
  const progress = new Progress(call);
  try {
    progress.say({ status: `The push refers to repository [${reference.slice(0, reference.lastIndexOf(':'))}]` });
    const { digest, sizeBytes } = await images.push(reference, {
      ...transferOptions(call),
      onProgress: reporter(progress, {
        downloading: 'Pushing',
        unpacking: 'Pushing',
        done: 'Pushed',
        exists: 'Layer already exists',
      }),
    });
    progress.say({ status: `${tag}: digest: ${digest} size: ${sizeBytes}` });
    progress.say({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: sizeBytes } });
    progress.end();
  } catch (error) {
    progress.end(error);
  }
}

export async function tagImage(call: Call): Promise<void> {
  const image = findImage(call, call.path['name'] ?? '');
  const repository = call.query.get('repo') ?? '';
  if (repository === '') throw new DockerError(400, 'invalid parameter: repo is empty: name the repository');
  await call.engine.images.tag(image.digest, `${repository}:${call.query.get('tag') || 'latest'}`);
  answerEmpty(call, 201);
}

export async function removeImage(call: Call): Promise<void> {
  const name = call.path['name'] ?? '';
  const image = findImage(call, name);
  const byName = [name, `${name}:latest`, hubName(name), `${hubName(name)}:latest`].find((one) =>
    image.references.includes(one),
  );
  if (byName === undefined && image.references.length > 1 && !flag(call, 'force')) {
    throw new DockerError(
      409,
      `conflict: unable to delete ${name} (must be forced) - image is referenced in multiple repositories`,
    );
  }
  answerJson(call, await remove(call, image, byName ?? image.digest));
}

/** Images that have no name; with `dangling=false` all that no container has. */
export async function pruneImages(call: Call): Promise<void> {
  const filters = parseFilters(call.query.get('filters'), ['dangling', 'label', 'until']);
  const all = (filters.get('dangling') ?? []).some((value) => ['0', 'false'].includes(value));
  const until = filters.get('until')?.[0];
  const before = until === undefined ? Number.POSITIVE_INFINITY : momentBefore(until);
  const used = new Set(call.engine.containers().flatMap(({ imageId, imageDigest }) => [imageId, imageDigest]));
  const removed: Record<string, string>[] = [];
  let bytes = 0;
  for (const image of call.engine.images.list()) {
    const isWanted = (!all && image.references.length > 0) || used.has(image.id) || used.has(image.digest);
    if (isWanted || image.createdAt >= before) continue;
    removed.push(...(await remove(call, image, image.digest)));
    bytes += image.sizeBytes;
  }
  answerJson(call, { ImagesDeleted: removed, SpaceReclaimed: bytes });
}

async function remove(call: Call, image: Image, name: string): Promise<Record<string, string>[]> {
  const names = image.references.includes(name) ? [name] : [...image.references];
  await call.engine.images.remove(name);
  const untagged = names.map((one) => ({ Untagged: familiarName(one) }));
  return call.engine.images.get(image.digest) === undefined ? [...untagged, { Deleted: image.id }] : untagged;
}

/** Credentials from `X-Registry-Auth`; what is under way ends with its client. */
export function transferOptions(call: Call): PullOptions {
  const gone = new AbortController();
  call.response.on('close', () => gone.abort(new DockerError(499, 'the client has gone')));
  const header = call.request.headers['x-registry-auth'];
  if (typeof header !== 'string' || header === '') return { signal: gone.signal };
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, 'base64').toString('utf8') || '{}');
  } catch (cause) {
    throw new DockerError(400, 'invalid X-Registry-Auth header: it is no JSON in base64', { cause });
  }
  const { username, password } = (value ?? {}) as { username?: unknown; password?: unknown };
  return typeof username === 'string' && typeof password === 'string' && username !== ''
    ? { credentials: { username, password }, signal: gone.signal }
    : { signal: gone.signal };
}

const REPORT_MILLISECONDS = 100;

/** Not every chunk is told: ten lines a second for each layer are enough. */
export function reporter(
  progress: Progress,
  words: Record<PullProgress['state'], string>,
): (step: PullProgress) => void {
  const told = new Map<string, number>();
  return ({ digest, state, current, total }) => {
    const now = Date.now();
    const isBytes = state === 'downloading' && current > 0;
    if (isBytes && now - (told.get(digest) ?? 0) < REPORT_MILLISECONDS) return;
    told.set(digest, now);
    const id = digest.slice('sha256:'.length, 'sha256:'.length + 12);
    progress.say({ status: words[state], progressDetail: isBytes ? { current, total } : {}, id });
  };
}
