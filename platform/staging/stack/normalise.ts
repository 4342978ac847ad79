/**
 * Turns mmdebstrap's archive into the stack's layer: drops what no app needs, merges /bin, /sbin and /lib into /usr,
 * fixes times, and adds what maintainer scripts would have made (none is run, which makes the result the same every
 * time, and takes 6 s instead of 27).
 */
import { readTar } from '#lib/tar/read.ts';
import { safeName } from '#lib/tar/names.ts';
import type { TarHeader } from '#lib/tar/tar.ts';
import type { TarInput } from '#lib/tar/write.ts';
import { CREATED_SECONDS } from '../images/oci.ts';
import { DROPPED } from './recipe.ts';

/** What the archive tells besides the layer; filled when the layer was read to its end. */
export interface StackNotes {
  /** In dpkg's format. */
  status: string;
  /** Lines `package version`. */
  offers: string;
  webServer: Map<string, Buffer>;
}

const MERGED = /^(bin|sbin|lib|lib32|lib64|libx32)(?=\/|$)/;
const LARGEST_NOTE = 16 * 1024 * 1024;

/** What the additions are made from. */
interface Found {
  seen: Set<string>;
  /** Top-level names of what was merged into /usr. */
  roots: Set<string>;
  certificates: Buffer[];
  masters: Map<string, string>;
}

/** @param dropped  besides what no app has a use for */
export async function* stackEntries(
  archive: AsyncIterable<Uint8Array>,
  notes: StackNotes,
  dropped: readonly RegExp[] = [],
): AsyncGenerator<TarInput> {
  const found: Found = { seen: new Set(), roots: new Set(), certificates: [], masters: new Map() };
  yield* packageEntries({ archive, notes, unwanted: [...DROPPED, ...dropped] }, found);
  for (const addition of additions(found, notes.status)) if (!found.seen.has(addition.name)) yield addition;
}

/** Packages that go over the stack: no base is added to them, and a directory comes only with something in it. */
export async function* overlayEntries(archive: AsyncIterable<Uint8Array>, notes: StackNotes): AsyncGenerator<TarInput> {
  const found: Found = { seen: new Set(), roots: new Set(), certificates: [], masters: new Map() };
  const waiting = new Map<string, TarInput>();
  for await (const entry of packageEntries({ archive, notes, unwanted: DROPPED }, found)) {
    if (entry.type === 'directory') {
      waiting.set(entry.name, entry);
      continue;
    }
    for (let slash = entry.name.indexOf('/'); slash > 0; slash = entry.name.indexOf('/', slash + 1)) {
      const parent = entry.name.slice(0, slash);
      const directory = waiting.get(parent);
      if (directory !== undefined) yield directory;
      waiting.delete(parent);
    }
    yield entry;
  }
}

interface Source {
  archive: AsyncIterable<Uint8Array>;
  notes: StackNotes;
  unwanted: readonly RegExp[];
}

async function* packageEntries(
  { archive, notes, unwanted }: Source,
  { seen, roots, certificates, masters }: Found,
): AsyncGenerator<TarInput> {
  for await (const entry of readTar(archive, { encoding: 'latin1' })) {
    const found = safeName(entry.name);
    if (found.startsWith('.sampan/') && entry.type === 'file') {
      if (entry.sizeBytes > LARGEST_NOTE) throw new Error(`${found} has ${entry.sizeBytes} bytes`);
      const content = await contentOf(entry.data());
      if (found === '.sampan/status') notes.status = sortedStatus(content.toString('utf8'));
      else if (found === '.sampan/offers') notes.offers = content.toString('utf8');
      else notes.webServer.set(found.slice('.sampan/web-server/'.length), content);
      continue;
    }
    const root = MERGED.exec(found)?.[1];
    if (root !== undefined) roots.add(root);
    const name = merged(found);
    if (found === root && entry.type === 'symlink') continue;
    if (name === '' || unwanted.some((pattern) => pattern.test(name))) continue;
    if (seen.has(name)) {
      if (entry.type === 'directory' || entry.type === 'symlink') continue;
      throw new Error(`two packages bring ${name}`);
    }
    seen.add(name);
    const header: TarInput = { ...plain(entry), name };
    if (entry.type === 'hard-link') header.linkName = merged(safeName(entry.linkName ?? ''));
    if (entry.type !== 'file') {
      yield header;
      continue;
    }
    const certificate = /^usr\/share\/ca-certificates\/.*\.crt$/.test(name);
    const master = /^usr\/share\/(base-passwd\/(passwd|group)\.master|libc-bin\/nsswitch\.conf)$/.exec(name);
    if (!certificate && master === null) {
      yield { ...header, data: entry.data() };
      continue;
    }
    const content = await contentOf(entry.data());
    if (certificate) certificates.push(content);
    if (master !== null) masters.set(name, content.toString('utf8'));
    yield { ...header, data: content };
  }
}

function* additions({ seen, roots, certificates, masters }: Found, status: string): Generator<TarInput> {
  const users = masters.get('usr/share/base-passwd/passwd.master') ?? 'root:*:0:0:root:/root:/bin/bash\n';
  const groups = masters.get('usr/share/base-passwd/group.master') ?? 'root:*:0:\n';
  for (const root of [...roots].sort()) yield link(root, `usr/${root}`);
  yield file('etc/passwd', `${users}vcap:x:1000:1000:app:/home/vcap:/bin/bash\n`);
  yield file('etc/group', `${groups}vcap:x:1000:\n`);
  yield file('etc/nsswitch.conf', masters.get('usr/share/libc-bin/nsswitch.conf') ?? 'hosts: files dns\n');
  for (const name of ['hostname', 'hosts', 'resolv.conf']) yield file(`etc/${name}`, '');
  for (const name of ['etc/ssl', 'etc/ssl/certs']) yield directory(name);
  yield file('etc/ssl/certs/ca-certificates.crt', Buffer.concat(certificates));
  // Where OpenSSL looks first: no directory of hashed links is needed.
  yield link('usr/lib/ssl/cert.pem', '/etc/ssl/certs/ca-certificates.crt');
  if (seen.has('usr/bin/mawk')) yield link('usr/bin/awk', 'mawk');
  if (seen.has('usr/bin/dash')) yield link('usr/bin/sh', 'dash');
  if (seen.has('usr/bin/which.debianutils')) yield link('usr/bin/which', 'which.debianutils');
  for (const name of ['var', 'var/lib', 'var/lib/dpkg', 'var/log', 'dev', 'proc', 'sys', 'run']) yield directory(name);
  yield file('var/lib/dpkg/status', status);
  yield directory('tmp', 0o1777);
  yield directory('var/tmp', 0o1777);
  for (const name of ['home', 'platform', 'cnb']) yield directory(name);
  for (const name of ['home/vcap', 'workspace', 'layers']) yield directory(name, 0o755, 1000);
  // Where scripts of Cloud Foundry's buildpacks look for the app.
  yield link('home/vcap/app', '/workspace');
}

function merged(name: string): string {
  return MERGED.test(name) ? `usr/${name}` : name;
}

/** No owner but root, no setuid program, no time, no attributes. */
function plain(entry: TarHeader): TarHeader {
  const sticky = entry.type === 'directory' ? entry.mode & 0o1000 : 0;
  return {
    name: entry.name,
    type: entry.type,
    mode: (entry.mode & 0o777) | sticky,
    uid: 0,
    gid: 0,
    sizeBytes: entry.sizeBytes,
    mtimeSeconds: CREATED_SECONDS,
    ...(entry.linkName === undefined ? {} : { linkName: entry.linkName }),
  };
}

function file(name: string, content: string | Buffer, mode = 0o644): TarInput {
  const data = typeof content === 'string' ? Buffer.from(content) : content;
  return { name, type: 'file', mode, uid: 0, gid: 0, sizeBytes: data.length, mtimeSeconds: CREATED_SECONDS, data };
}

function directory(name: string, mode = 0o755, owner = 0): TarInput {
  return { name, type: 'directory', mode, uid: owner, gid: owner, sizeBytes: 0, mtimeSeconds: CREATED_SECONDS };
}

function link(name: string, target: string): TarInput {
  const none = { uid: 0, gid: 0, sizeBytes: 0, mtimeSeconds: CREATED_SECONDS };
  return { name, type: 'symlink', mode: 0o777, linkName: target, ...none };
}

function sortedStatus(status: string): string {
  const stanzas = status.split(/\n\n+/).filter((stanza) => stanza.trim() !== '');
  return stanzas.length === 0 ? '' : `${stanzas.sort().join('\n\n')}\n\n`;
}

async function contentOf(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
