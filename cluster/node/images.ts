/** Brings a container's image to the node, by its pull policy and with the pod's own credentials before the node's. */
import { type Engine, EngineError, type Image } from '#engine/engine.ts';
import type { Container, Pod, Secret } from '../kinds/types/core.ts';
import { AgentError, messageOf } from './errors.ts';
import type { References } from './references.ts';

export interface ImageRequest {
  pod: Pod;
  container: Container;
  references: References;
  signal: AbortSignal;
  /** Something for the pod's events: `Pulling`, `Pulled`. */
  report: (reason: string, message: string) => void;
}

/** Rejects with `ErrImageNeverPull`, `InvalidImageName` or `ErrImagePull`. */
export async function ensureImage(engine: Engine, request: ImageRequest): Promise<Image> {
  const reference = request.container.image ?? '';
  if (reference === '' || /[\s\0]/.test(reference)) {
    throw new AgentError(
      'InvalidImageName',
      `couldn't parse image reference "${reference}": write host/repository:tag`,
    );
  }
  const policy = request.container.imagePullPolicy ?? defaultPolicy(reference);
  if (policy !== 'Always') {
    const present = engine.images.get(reference);
    if (present) {
      request.report('Pulled', `Container image "${reference}" already present on machine`);
      return present;
    }
    if (policy === 'Never') {
      throw new AgentError(
        'ErrImageNeverPull',
        `Container image "${reference}" is not present with pull policy of Never`,
      );
    }
  }
  return pull(engine, reference, request);
}

async function pull(engine: Engine, reference: string, request: ImageRequest): Promise<Image> {
  const { report, signal } = request;
  report('Pulling', `Pulling image "${reference}"`);
  const began = performance.now();
  const candidates = [...(await pullCredentials(reference, request)), undefined];
  for (const [index, credentials] of candidates.entries()) {
    try {
      const image = await engine.images.pull(reference, { signal, ...(credentials && { credentials }) });
      const took = `${((performance.now() - began) / 1000).toFixed(3)}s`;
      report('Pulled', `Successfully pulled image "${reference}" in ${took}. Image size: ${image.sizeBytes} bytes.`);
      return image;
    } catch (error) {
      signal.throwIfAborted();
      const refused = error instanceof EngineError && error.code === 'unauthorized';
      if (refused && index < candidates.length - 1) continue;
      const invalid = error instanceof EngineError && error.code === 'invalid';
      const message = `failed to pull image "${reference}": ${messageOf(error)}`;
      throw new AgentError(invalid ? 'InvalidImageName' : 'ErrImagePull', message, { cause: error });
    }
  }
  throw new AgentError('ErrImagePull', `failed to pull image "${reference}"`);
}

/** `Always` for what moves (`latest`, or no tag at all), else `IfNotPresent`. */
export function defaultPolicy(reference: string): 'Always' | 'IfNotPresent' {
  if (reference.includes('@')) return 'IfNotPresent';
  const tag = /:([^/:]+)$/.exec(reference)?.[1];
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

interface Credentials {
  username: string;
  password: string;
}

async function pullCredentials(reference: string, { pod, references }: ImageRequest): Promise<Credentials[]> {
  const found: Credentials[] = [];
  for (const { name } of pod.spec?.imagePullSecrets ?? []) {
    // A pull secret that is not there is no error: the image may be public.
    const secret = name ? await references.secret(name) : undefined;
    if (secret) found.push(...credentialsFor(reference, secret));
  }
  return found;
}

/** Those entries of a `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg` secret that are for the image's host. */
export function credentialsFor(reference: string, secret: Secret): Credentials[] {
  const modern = secret.data?.['.dockerconfigjson'];
  const text = modern ?? secret.data?.['.dockercfg'];
  if (text === undefined) return [];
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(text, 'base64').toString());
  } catch {
    return []; // Written by a user: a broken secret gives no credentials, and the registry's refusal says so.
  }
  const auths = modern === undefined ? parsed : asRecord(parsed)?.['auths'];
  const found: { location: string; credentials: Credentials }[] = [];
  for (const [server, entry] of Object.entries(asRecord(auths) ?? {})) {
    const location = locationOf(server);
    const credentials = isFor(location, reference) ? readEntry(asRecord(entry)) : undefined;
    if (credentials) found.push({ location, credentials });
  }
  // What names more of the repository's path is meant for it more than what names less.
  return found.sort((a, b) => b.location.length - a.location.length).map(({ credentials }) => credentials);
}

/** `docker login` writes addresses in several ways, and Docker's own registry under a name of old. */
function locationOf(server: string): string {
  const location = server.replace(/^https?:\/\//, '').replace(/\/(v[12]\/?)?$/, '');
  return location.replace(/^(index|registry-1)\.docker\.io(?=\/|$)/, 'docker.io');
}

/** A host, with `*` for any part of it between dots, and perhaps the beginning of a path (Kubernetes "Images", imagePullSecrets). */
function isFor(location: string, reference: string): boolean {
  const [host = '', ...path] = location.split('/');
  const [ownHost = '', ...ownPath] = reference.split('/');
  const parts = host.split('.');
  const ownParts = ownHost.split('.');
  if (parts.length !== ownParts.length || !parts.every((part, index) => glob(part, ownParts[index] ?? '')))
    return false;
  return path.every((part, index) => part === ownPath[index]?.replace(index === path.length - 1 ? /[:@].*$/ : '', ''));
}

/** `*` stands for anything without a colon; the text has no dots. Its pieces are looked for from the left: in time that no pattern multiplies. */
function glob(pattern: string, text: string): boolean {
  const pieces = pattern.split('*');
  const [first = '', last = ''] = [pieces[0], pieces.at(-1)];
  if (pieces.length === 1) return pattern === text;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  const end = text.length - last.length;
  let between = '';
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    between += text.slice(at, found);
    at = found + piece.length;
  }
  return !(between + text.slice(at, end)).includes(':');
}

function readEntry(entry: Record<string, unknown> | undefined): Credentials | undefined {
  const { username, password, auth } = entry ?? {};
  if (typeof username === 'string' && typeof password === 'string') return { username, password };
  if (typeof auth !== 'string') return undefined;
  const plain = Buffer.from(auth, 'base64').toString();
  const colon = plain.indexOf(':');
  return colon < 0 ? undefined : { username: plain.slice(0, colon), password: plain.slice(colon + 1) };
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
