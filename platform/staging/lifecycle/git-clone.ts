/**
 * The newest state of a git repository over HTTP, without its history (gitprotocol-http, gitprotocol-pack version 0), for
 * buildpacks by address: the stack has no git. Everything comes from a stranger, and runs in the build's container.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type GitObject, readPack } from './git-pack.ts';
import { type HttpRequest, openHttp, readHttp } from './http.ts';

export interface CloneOptions {
  /** Without `#reference`. */
  url: string;
  /** Branch, tag or commit; undefined: what the repository calls its HEAD. */
  reference: string | undefined;
  /** Is there, and empty. */
  directory: string;
  http: Pick<HttpRequest, 'ca' | 'signal'>;
  /** Of the pack, and of what comes out of it. */
  mostBytes: number;
}

const LARGEST_ADVERTISEMENT = 64 * 1024 * 1024;
const SUBMODULES_DEEP = 3;

/** Returns the commit. Rejects with an `Error` whose message is for the user. */
export async function cloneGit(options: CloneOptions, depth = 0): Promise<string> {
  const { url, refs } = await advertised(options);
  const wanted = named(refs, options.reference);
  if (wanted === undefined)
    throw new Error(`${options.url} has no branch, tag or commit ${JSON.stringify(options.reference ?? 'HEAD')}`);
  const objects = readPack(await packOf(url, wanted, options), options.mostBytes);
  const commit = commitOf(objects, wanted);
  const tree = /^tree ([0-9a-f]{40})$/m.exec(objects.get(commit)?.data.toString('utf8') ?? '')?.[1] ?? '';
  const modules: { path: string; commit: string }[] = [];
  writeTree({ objects, modules }, tree, options.directory, '');
  if (modules.length === 0) return commit;
  if (depth === SUBMODULES_DEEP)
    throw new Error(`${options.url} has submodules in submodules, more than ${depth} deep`);
  const addresses = submoduleAddresses(objects, tree, url);
  for (const { path, commit: reference } of modules) {
    const address = addresses.get(path);
    if (address === undefined)
      throw new Error(`${options.url} has the submodule ${path}, which .gitmodules does not tell`);
    await cloneGit({ ...options, url: address, reference, directory: join(options.directory, path) }, depth + 1);
  }
  return commit;
}

/** Name to object, as the server tells them; and where the repository is after redirects. */
async function advertised({ url, http }: CloneOptions): Promise<{ url: string; refs: Map<string, string> }> {
  const query = '/info/refs?service=git-upload-pack';
  const answer = await openHttp(`${url.replace(/\/+$/, '')}${query}`, http);
  const type = answer.message.headers['content-type'] ?? '';
  const isGit = answer.status === 200 && type.startsWith('application/x-git-upload-pack-advertisement');
  if (!isGit) {
    answer.message.resume();
    throw new Error(`${url} is no git repository that can be cloned over HTTP (it answered ${answer.status} ${type})`);
  }
  const refs = new Map<string, string>();
  for (const line of packets(await readHttp(answer, LARGEST_ADVERTISEMENT))) {
    const match = /^([0-9a-f]{40}) ([^\0\n]+)/.exec(line?.toString('utf8') ?? '');
    if (match?.[1] !== undefined && match[2] !== undefined) refs.set(match[2], match[1]);
  }
  return { url: answer.url.slice(0, -query.length), refs };
}

function named(refs: ReadonlyMap<string, string>, reference: string | undefined): string | undefined {
  if (reference === undefined) return refs.get('HEAD');
  const found = [`refs/heads/${reference}`, `refs/tags/${reference}`, reference].map((name) => refs.get(name));
  return found.find((name) => name !== undefined) ?? (/^[0-9a-f]{40}$/.test(reference) ? reference : undefined);
}

async function packOf(url: string, wanted: string, { http, mostBytes }: CloneOptions): Promise<Buffer> {
  const line = (text: string) => `${(text.length + 5).toString(16).padStart(4, '0')}${text}\n`;
  const capabilities = 'ofs-delta shallow side-band-64k no-progress agent=sampan';
  const body = `${line(`want ${wanted} ${capabilities}`)}${line('deepen 1')}0000${line('done')}`;
  const answer = await openHttp(`${url}/git-upload-pack`, {
    ...http,
    method: 'POST',
    headers: { 'content-type': 'application/x-git-upload-pack-request' },
    body: Buffer.from(body),
  });
  const bytes = await readHttp(answer, mostBytes);
  if (answer.status !== 200) throw new Error(`${url} does not give commit ${wanted}: it answered ${answer.status}`);
  const parts: Buffer[] = [];
  for (const packet of packets(bytes)) {
    const text = packet?.toString('latin1', 0, 300) ?? '';
    if (text.startsWith('ERR ')) throw new Error(`${url} does not give commit ${wanted}: ${text.slice(4).trimEnd()}`);
    if (packet?.[0] === 3) throw new Error(`${url} does not give commit ${wanted}: ${text.slice(1).trimEnd()}`);
    if (packet?.[0] === 1) parts.push(packet.subarray(1));
  }
  return Buffer.concat(parts);
}

/** Packets between their lengths; undefined for those that only divide. */
function* packets(bytes: Buffer): Generator<Buffer | undefined> {
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = Number.parseInt(bytes.toString('latin1', at, at + 4), 16);
    if (Number.isNaN(length) || (length > 0 && length < 4))
      throw new Error('the repository does not speak as git does');
    yield length === 0 ? undefined : bytes.subarray(at + 4, at + length);
    at += Math.max(4, length);
  }
}

/** A tag is an object that names another. */
function commitOf(objects: ReadonlyMap<string, GitObject>, wanted: string): string {
  let name = wanted;
  for (let depth = 0; depth < 10; depth += 1) {
    const found = objects.get(name);
    if (found?.type === 'commit') return name;
    name = /^object ([0-9a-f]{40})$/m.exec(found?.type === 'tag' ? found.data.toString('utf8') : '')?.[1] ?? '';
  }
  throw new Error(`the repository sent no commit ${wanted}`);
}

interface Writing {
  objects: ReadonlyMap<string, GitObject>;
  modules: { path: string; commit: string }[];
}

function* treeEntries(objects: ReadonlyMap<string, GitObject>, tree: string) {
  const found = objects.get(tree);
  if (found?.type !== 'tree') throw new Error(`the repository sent no tree ${tree}`);
  const { data } = found;
  for (let at = 0; at < data.length; ) {
    const zero = data.indexOf(0, at);
    const [mode = '', ...rest] = data.toString('utf8', at, zero).split(' ');
    const name = rest.join(' ');
    if (zero < 0 || name === '' || name === '.' || name === '..' || name.includes('/') || /^\.git$/i.test(name))
      throw new Error(`the repository has a file of the name ${JSON.stringify(name)}`);
    yield { mode, name, object: data.toString('hex', zero + 1, zero + 21) };
    at = zero + 21;
  }
}

function writeTree(writing: Writing, tree: string, directory: string, path: string): void {
  if (path.split('/').length > 200) throw new Error('the repository has directories more than 200 deep');
  for (const { mode, name, object } of treeEntries(writing.objects, tree)) {
    const target = join(directory, name);
    const below = path === '' ? name : `${path}/${name}`;
    if (mode === '40000' || mode === '160000') mkdirSync(target);
    if (mode === '160000') writing.modules.push({ path: below, commit: object });
    if (mode === '40000') writeTree(writing, object, target, below);
    if (mode === '40000' || mode === '160000') continue;
    const content = writing.objects.get(object)?.data;
    if (content === undefined) throw new Error(`the repository sent no file ${below}`);
    if (mode === '120000') symlinkSync(content.toString('utf8'), target);
    // Whatever is there already, a link of the same name too, is not written through.
    else writeFileSync(target, content, { flag: 'wx', mode: mode === '100755' ? 0o755 : 0o644 });
  }
}

/** Path to address, of `.gitmodules` (gitmodules, gitconfig). */
function submoduleAddresses(objects: ReadonlyMap<string, GitObject>, tree: string, url: string): Map<string, string> {
  const file = [...treeEntries(objects, tree)].find(({ name }) => name === '.gitmodules');
  const addresses = new Map<string, string>();
  const text = objects.get(file?.object ?? '')?.data.toString('utf8') ?? '';
  for (const section of text.split(/^\s*\[submodule /m).slice(1)) {
    const value = (key: string) => new RegExp(`^\\s*${key}\\s*=\\s*(.+?)\\s*$`, 'm').exec(section)?.[1];
    const path = value('path');
    const address = value('url');
    if (path === undefined || address === undefined) continue;
    // Relative ones are to the repository's own address.
    const resolved = /^\.\.?\//.test(address) ? new URL(address, `${url}/`).href : address;
    if (!/^https?:\/\//.test(resolved))
      throw new Error(`submodule ${path} is at ${address}: only https:// and http:// can be cloned`);
    addresses.set(path, resolved);
  }
  return addresses;
}
