/**
 * Image references: `[host[:port]/]repository[:tag][@digest]`, by the grammar of the distribution specification
 * ("Pulling manifests") and Docker's rule for what is a host: the first component, when it holds a dot or a colon or
 * is `localhost`.
 */
import { isDigest } from '#lib/digest.ts';
import { EngineError } from '../engine.ts';

export interface Reference {
  /** Absent in names that are known on this node only. */
  host?: string;
  repository: string;
  /** `latest` where the reference names neither tag nor digest. */
  tag?: string;
  digest?: string;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const HOST = /^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?$/;

/** Longer than any reference that can be right. */
const LONGEST = 512;

export function isRepository(text: string): boolean {
  return text.length <= 255 && REPOSITORY.test(text);
}

/** `host` or `host:port`, as references have it. */
export function isHost(text: string): boolean {
  return HOST.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** @throws EngineError `invalid` naming the part that is wrong */
export function parseReference(text: string): Reference {
  const fail = (why: string): EngineError =>
    new EngineError(
      'invalid',
      `image reference ${JSON.stringify(text.slice(0, LONGEST))}: ${why}; write [host[:port]/]repository[:tag][@digest]`,
    );
  if (text === '') throw fail('it is empty');
  if (text.length > LONGEST) throw fail(`it is longer than ${LONGEST} characters`);

  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw fail(`the digest ${JSON.stringify(digest)} is not well-formed`);
  const named = at < 0 ? text : text.slice(0, at);

  const slash = named.indexOf('/');
  const first = named.slice(0, Math.max(slash, 0));
  const hasHost = slash > 0 && (first === 'localhost' || first.includes('.') || first.includes(':'));
  if (hasHost && !HOST.test(first)) throw fail(`the host ${JSON.stringify(first)} is not well-formed`);
  const path = hasHost ? named.slice(slash + 1) : named;

  const colon = path.indexOf(':');
  const repository = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? undefined : path.slice(colon + 1);
  if (tag !== undefined && !isTag(tag)) throw fail(`the tag ${JSON.stringify(tag)} is not well-formed`);
  if (!isRepository(repository)) {
    const hint = repository.toLowerCase() === repository ? '' : ' (upper case is not allowed)';
    throw fail(`the repository ${JSON.stringify(repository)} is not well-formed${hint}`);
  }

  const reference: Reference = { repository };
  if (hasHost) Object.assign(reference, dockerHub(first, repository));
  if (digest !== undefined) reference.digest = digest;
  if (tag !== undefined || digest === undefined) reference.tag = tag ?? 'latest';
  return reference;
}

/** One text for all spellings of a reference. A digest stands alone: the tag beside it says nothing more. */
export function canonicalReference(reference: Reference): string {
  const path = reference.host === undefined ? reference.repository : `${reference.host}/${reference.repository}`;
  return reference.digest === undefined ? `${path}:${reference.tag ?? 'latest'}` : `${path}@${reference.digest}`;
}

function dockerHub(host: string, repository: string): { host: string; repository: string } {
  if (host !== 'docker.io' && host !== 'index.docker.io') return { host, repository };
  return { host: 'docker.io', repository: repository.includes('/') ? repository : `library/${repository}` };
}
