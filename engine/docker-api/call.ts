/** One request to the Docker API, and what its handlers need to answer it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Container, Engine, Image } from '../engine.ts';
import type { NodeImages } from '../images/open.ts';
import type { ContainerVerbs } from '../verbs.ts';
import type { DockerContainers } from './docker-containers.ts';
import { DockerError } from './errors.ts';
import { containerName } from './container-view.ts';

/** An engine; where its images can also tell their history, it is told. */
export type DockerEngine = Engine &
  ContainerVerbs & {
    images: Engine['images'] &
      Partial<
        Pick<
          NodeImages,
          'document' | 'layerSizes' | 'push' | 'adopt' | 'stage' | 'content' | 'login' | 'remoteManifest' | 'tags'
        >
      >;
  };

export interface Call {
  engine: DockerEngine;
  /** The containers that were made here. */
  docker: DockerContainers;
  /** Sampan's version. */
  version: string;
  /** The API's version that the client speaks: 24 for 1.24. */
  minor: number;
  request: IncomingMessage;
  response: ServerResponse;
  /** The path's parameters by name, decoded. */
  path: Record<string, string>;
  query: URLSearchParams;
  /** A build may take so long. */
  buildTimeoutMilliseconds: number;
  /** Where the client asked to go on without HTTP: the connection. */
  socket?: Duplex;
  /** It went on so: nothing can be answered any more. */
  isStreaming?: boolean;
}

export function answerJson(call: Call, value: unknown, status = 200): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  call.response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
  call.response.end(call.request.method === 'HEAD' ? undefined : body);
}

/** Docker's booleans: absent, empty, `0`, `no`, `false` and `none` are false. */
export function flag(call: Call, name: string): boolean {
  const value = (call.query.get(name) ?? '').toLowerCase();
  return !['', '0', 'no', 'false', 'none'].includes(value);
}

/** By whole id, by name, or by the beginning of the id. */
export function findContainer(call: Call, text: string): Container {
  const exact = call.engine.container(text);
  if (exact !== undefined) return exact;
  const wanted = text.startsWith('/') ? text.slice(1) : text;
  const all = call.engine.containers();
  const fullName = all.filter((container) => containerName(container) === wanted);
  const named = fullName.length > 0 ? fullName : all.filter(({ name }) => name === wanted);
  const found =
    named.length > 0 || !/^[0-9a-f]{1,64}$/.test(wanted) ? named : all.filter(({ id }) => id.startsWith(wanted));
  const [first] = found;
  if (first === undefined) throw new DockerError(404, `No such container: ${text}`);
  if (found.length > 1) throw new DockerError(400, `Multiple containers found with name or id prefix: ${text}`);
  return first;
}

/** A name without a registry is a local one, or Docker Hub's. */
export function findImage(call: Call, text: string): Image {
  const image = call.engine.images.get(text) ?? call.engine.images.get(hubName(text));
  if (image === undefined) throw new DockerError(404, `No such image: ${text}`);
  return image;
}

/** `busybox` as Docker means it: `docker.io/library/busybox`. */
export function hubName(text: string): string {
  const first = text.split('/')[0] ?? '';
  const hasHost = text.includes('/') && (first === 'localhost' || /[.:]/.test(first));
  if (hasHost) return text;
  return text.includes('/') ? `docker.io/${text}` : `docker.io/library/${text}`;
}

/** How Docker's clients write it: without the host and the `library/` of Docker Hub. */
export function familiarName(reference: string): string {
  return reference.replace(/^docker\.io\/(library\/)?/, '');
}

/** A whole number of the query; undefined where it is absent or empty. */
export function integer(call: Call, name: string): number | undefined {
  const text = call.query.get(name) ?? '';
  if (text === '') return undefined;
  if (!/^-?\d{1,10}$/.test(text))
    throw new DockerError(400, `invalid parameter: ${name} is ${JSON.stringify(text)}, not a whole number`);
  return Number(text);
}

export function answerEmpty(call: Call, status = 204): void {
  call.response.writeHead(status);
  call.response.end();
}
