/** `/images/create` (pull and import), push, tag, remove, prune. Progress is a line of JSON for each step. */
import { EngineError, type Image, type PullOptions, type PullProgress } from '../engine.ts';
import type { NodeImages } from '../images/open.ts';
import { parseReference, type Reference } from '../images/reference.ts';
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
  const parsed = readReference(reference);
  const options = { ...transferOptions(call), ...platformOf(call) };
  const progress = new Progress(call);
  try {
    const isWhole = tag !== '' || parsed.digest !== undefined || from.slice(from.lastIndexOf('/')).includes(':');
    // Without a tag, every tag is meant: `docker pull --all-tags`.
    const tags = isWhole ? [parsed.digest ?? parsed.tag ?? 'latest'] : await tagsOf(call, reference, options);
    for (const one of tags) {
      const name = isWhole ? reference : `${reference}:${one}`;
      await pullOne(call, progress, { name, label: one, options });
    }
    progress.end();
  } catch (error) {
    progress.end(pullError(error, reference));
  }
}

/** What docker shows of each layer of a pull. */
export const PULL_WORDS: Record<PullProgress['state'], string> = {
  waiting: 'Pulling fs layer',
  downloading: 'Downloading',
  downloaded: 'Download complete',
  unpacking: 'Extracting',
  done: 'Pull complete',
  exists: 'Already exists',
  mounted: '',
};

async function pullOne(
  call: Call,
  progress: Progress,
  { name, label, options }: { name: string; label: string; options: PullOptions },
): Promise<void> {
  const before = call.engine.images.get(name)?.digest;
  const repository = familiarName(name.replace(/@.*$/, '').replace(/:[^/]*$/, ''));
  let isBegun = false;
  const report = reporter(progress, PULL_WORDS);
  const image = await call.engine.images.pull(name, {
    ...options,
    onProgress: (step) => {
      // Said when the manifest is there: an image that does not exist is an answer with a status of its own.
      if (!isBegun) progress.say({ status: `Pulling from ${repository}`, id: label });
      isBegun = true;
      report(step);
    },
  });
  progress.say({ status: `Digest: ${image.digest}` });
  const what = image.digest === before ? 'Image is up to date for' : 'Downloaded newer image for';
  progress.say({ status: `Status: ${what} ${familiarName(name)}` });
}

async function tagsOf(call: Call, reference: string, options: PullOptions): Promise<string[]> {
  const { images } = call.engine;
  if (images.tags === undefined) throw new DockerError(501, 'this engine does not list tags');
  return await images.tags(reference, options);
}

function readReference(text: string): Reference {
  try {
    return parseReference(text);
  } catch (cause) {
    throw new DockerError(400, `invalid reference format: ${(cause as Error).message}`, { cause });
  }
}

/** `os[/architecture[/variant]]`. */
function platformOf(call: Call): Pick<PullOptions, 'architecture' | 'variant'> {
  const text = call.query.get('platform') ?? '';
  const [os = '', architecture, variant, ...rest] = text.toLowerCase().split('/');
  if (text === '') return {};
  if (!/^[a-z0-9_./-]+$/i.test(text) || rest.length > 0)
    throw new DockerError(400, `"${text}" is an invalid platform: write os[/architecture[/variant]]`);
  if (os !== 'linux') throw new DockerError(400, `operating system is not supported: ${os}; images here are for linux`);
  return {
    ...(architecture === undefined ? {} : { architecture: ARCHITECTURES[architecture] ?? architecture }),
    ...(variant === undefined ? {} : { variant }),
  };
}

/** Other names that clients know. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
};

/** As dockerd says it where it has words of its own. */
function pullError(error: unknown, reference: string): unknown {
  if (!(error instanceof EngineError)) return error;
  const name = familiarName(reference);
  if (error.code === 'not-found')
    return new DockerError(404, `manifest for ${name} not found: manifest unknown: ${error.message}`, { cause: error });
  if (error.code === 'unauthorized') {
    const repository = name.replace(/@.*$/, '').replace(/:[^/]*$/, '');
    return new DockerError(
      404,
      `pull access denied for ${repository}, repository does not exist or may require 'docker login': denied: ${error.message}`,
      { cause: error },
    );
  }
  return error;
}

export async function pushImage(call: Call): Promise<void> {
  const name = call.path['name'] ?? '';
  const { images } = call.engine;
  if (images.push === undefined) throw new DockerError(501, 'this engine does not push');
  const repository = hubName(name);
  const tag = call.query.get('tag') ?? '';
  // Without a tag, every tag is meant: `docker push --all-tags`.
  const all = images.list().flatMap(({ references }) => references.filter((one) => isTagOf(one, repository)));
  const references = tag === '' ? all.sort() : [`${repository}:${tag}`];
  if (references.length === 0 || references.some((one) => images.get(one) === undefined)) {
    throw new DockerError(404, `An image does not exist locally with the tag: ${name}`);
  }
  const progress = new Progress(call);
  try {
    progress.say({ status: `The push refers to repository [${repository}]` });
    for (const reference of references) await pushOne(call, progress, { push: images.push.bind(images), reference });
    progress.end();
  } catch (error) {
    progress.end(error);
  }
}

function isTagOf(reference: string, repository: string): boolean {
  return reference.startsWith(`${repository}:`) && !reference.slice(repository.length + 1).includes('/');
}

async function pushOne(
  call: Call,
  progress: Progress,
  { push, reference }: { push: NodeImages['push']; reference: string },
): Promise<void> {
  const tag = reference.slice(reference.lastIndexOf(':') + 1);
  const { digest, sizeBytes } = await push(reference, {
    ...transferOptions(call),
    onProgress: reporter(progress, {
      waiting: 'Preparing',
      downloading: 'Pushing',
      downloaded: 'Pushing',
      unpacking: 'Pushing',
      done: 'Pushed',
      exists: 'Layer already exists',
      mounted: 'Mounted from',
    }),
  });
  progress.say({ status: `${tag}: digest: ${digest} size: ${sizeBytes}` });
  progress.say({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: sizeBytes } });
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
  const isForced = flag(call, 'force');
  const byName = [name, `${name}:latest`, hubName(name), `${hubName(name)}:latest`].find((one) =>
    image.references.includes(one),
  );
  const conflict = (what: string): DockerError => new DockerError(409, `conflict: unable to ${what}`);
  const short = shortId(image.id);
  if (byName === undefined && image.references.length > 1 && !isForced)
    throw conflict(`delete ${short} (must be forced) - image is referenced in multiple repositories`);
  const isLast = byName === undefined || image.references.length <= 1;
  const users = call.engine.containers().filter(({ imageDigest }) => isLast && imageDigest === image.digest);
  const running = users.find(({ state }) => state === 'running');
  if (running !== undefined && (byName === undefined || !isForced)) {
    throw conflict(
      byName === undefined
        ? `delete ${short} (cannot be forced) - image is being used by running container ${shortId(running.id)}`
        : `remove repository reference "${name}" (must force) - container ${shortId(running.id)} is using its referenced image ${short}`,
    );
  }
  const [stopped] = users;
  if (stopped !== undefined && !isForced) {
    throw conflict(
      byName === undefined
        ? `delete ${short} (must be forced) - image is being used by stopped container ${shortId(stopped.id)}`
        : `remove repository reference "${name}" (must force) - container ${shortId(stopped.id)} is using its referenced image ${short}`,
    );
  }
  answerJson(call, await remove(call, image, byName ?? image.digest, isForced));
}

function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
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

async function remove(call: Call, image: Image, name: string, force = false): Promise<Record<string, string>[]> {
  const names = image.references.includes(name) ? [name] : [...image.references];
  await call.engine.images.remove(name, { force });
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
  return ({ digest, state, current, total, from }) => {
    const now = Date.now();
    const isBytes = state === 'downloading' && current > 0;
    if (isBytes && now - (told.get(digest) ?? 0) < REPORT_MILLISECONDS) return;
    told.set(digest, now);
    const id = digest.slice('sha256:'.length, 'sha256:'.length + 12);
    const status = from === undefined ? words[state] : `${words[state]} ${from}`;
    progress.say({ status, progressDetail: isBytes ? { current, total } : {}, id });
  };
}
