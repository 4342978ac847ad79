/** `COPY` and `ADD`: from sources to the plan of a layer. */
import { resolveUser } from '../containers/users.ts';
import { EngineError } from '../engine.ts';
import { asBytes, below, readSmall, type Tree } from '../images/tree.ts';
import type { BuildRequest, BuildSurroundings } from './build.ts';
import { MOST_CONTEXT_BYTES, MOST_CONTEXT_ENTRIES } from './build.ts';
import { absolutePath } from './config.ts';
import { compressionOf, decompressed, isTarHeader, peek } from './decompress.ts';
import { expandText, expandWord, type Variables } from './dockerfile/expand.ts';
import { BuildError, type Instruction } from './dockerfile/instruction.ts';
import { download } from './download.ts';
import { LayerPlan, type Ownership } from './layer-plan.ts';
import { findSources, modeOf, nameOfUrl, type NamedSource, ownerOf } from './sources.ts';
import { MemoryTree, TarTree, type TarTreeOptions } from './tar-tree.ts';

type CopyInstruction = Extract<Instruction, { kind: 'COPY' | 'ADD' }>;

export interface CopyRequest {
  instruction: CopyInstruction;
  variables: Variables;
  escape: string;
  workingDirectory: string;
  /** What it copies from: the context, or another image. */
  from: Tree;
  build: BuildRequest;
  surroundings: BuildSurroundings;
}

export interface Copy {
  sources: NamedSource[];
  /** Absolute. */
  destination: string;
  isDirectory: boolean;
  /** To close when the layer is written. */
  opened: TarTree[];
}

/** Looks everything up, and fetches what is elsewhere; nothing is decided about the image yet. */
export async function prepareCopy(request: CopyRequest): Promise<Copy> {
  const { instruction, variables, escape, workingDirectory } = request;
  const { kind } = instruction;
  const word = (text: string): string => expandWord(text, variables, escape);
  const destination = word(instruction.destination);
  const copy: Copy = {
    sources: [],
    destination: absolutePath(destination, workingDirectory),
    isDirectory: /(^|\/)\.?$/.test(destination),
    opened: [],
  };
  try {
    for (const text of instruction.sources.map(word)) {
      if (text === '') throw new BuildError(`${kind} failed: a source is empty once its variables are replaced`);
      if (kind === 'ADD' && /^(https?|ftp):\/\//i.test(text)) copy.sources.push(await fetched(request, text, copy));
      else if (kind === 'ADD' && /^(git@|git:\/\/|ssh:\/\/)/i.test(text))
        throw new BuildError(
          `ADD failed: ${text}: adding a git repository requires BuildKit; clone it and copy the files`,
        );
      else for (const source of findSources(request.from, text, kind)) copy.sources.push(source);
    }
    if (kind === 'ADD') await openArchives(request, copy);
    addHeredocs(request, copy);
    if (copy.sources.length > 1 && !copy.isDirectory) {
      throw new BuildError(
        `When using ${kind} with more than one source file, the destination must be a directory and end with a /`,
      );
    }
    return copy;
  } catch (error) {
    await closeCopy(copy);
    throw error;
  }
}

export async function closeCopy({ opened }: Copy): Promise<void> {
  for (const tree of opened.splice(0)) await tree.close();
}

/** Owners are the source's own, where none is named. @throws BuildError where it does not fit into the image */
export async function planCopy(request: CopyRequest, copy: Copy, image: Tree): Promise<LayerPlan> {
  const plan = new LayerPlan(image);
  const ownership = await ownershipOf(request, image);
  const destination = plan.resolve(asBytes(copy.destination));
  for (const source of copy.sources) {
    if (source.node.type === 'directory') plan.contents(destination, source, ownership);
    else {
      const isInside = copy.isDirectory || plan.isDirectory(destination);
      if (isInside) plan.makeDirectory(destination, ownership, ownership.owner);
      plan.file(isInside ? below(destination, source.name) : destination, source, ownership);
    }
  }
  return plan;
}

async function ownershipOf({ instruction, variables, escape }: CopyRequest, image: Tree): Promise<Ownership> {
  const { owner, mode } = instruction;
  const found: Ownership = {};
  if (mode !== undefined) found.mode = modeOf(expandWord(mode, variables, escape));
  if (owner === undefined) return found;
  const read = async (path: string): Promise<string> =>
    (await readSmall(image, path, 1024 * 1024))?.toString('utf8') ?? '';
  const files = { passwd: await read('etc/passwd'), group: await read('etc/group') };
  try {
    found.owner = ownerOf(expandWord(owner, variables, escape), (user) => resolveUser(user, files));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new BuildError(`unable to convert uid/gid chown string to host mapping: ${error.message}`, { cause: error });
  }
  return found;
}

function addHeredocs({ instruction, variables }: CopyRequest, copy: Copy): void {
  if (instruction.heredocs.length === 0) return;
  const tree = new MemoryTree();
  const now = Math.floor(Date.now() / 1000);
  for (const { name, content, isExpanded } of instruction.heredocs) {
    const bytes = Buffer.from(isExpanded ? expandText(content, variables) : content);
    const path = asBytes(name);
    tree.add(path, bytes, 0o644, now);
    const node = tree.lookup(path);
    if (node !== undefined) copy.sources.push({ tree, path, node, name: path });
  }
}

function spool({ build, surroundings }: CopyRequest, what: string): TarTreeOptions {
  return {
    directory: surroundings.directory,
    what,
    maxBytes: MOST_CONTEXT_BYTES,
    maxEntries: MOST_CONTEXT_ENTRIES,
    signal: build.signal,
  };
}

async function fetched(request: CopyRequest, url: string, copy: Copy): Promise<Copy['sources'][number]> {
  const name = copy.isDirectory ? nameOfUrl(url) : 'file';
  const { surroundings, build } = request;
  // It would be fetched from the host's own network, and what answers there be told.
  if (build.confined !== undefined)
    throw new BuildError(`ADD failed: ${url}: this build fetches no addresses by itself: RUN a program that does`);
  surroundings.output.text(`Downloading ${url}\n`);
  const { body, mtimeSeconds } = await download(url, build.signal);
  const tree = await TarTree.ofFile(body, { name, mode: 0o600, mtimeSeconds }, spool(request, `download of ${url}`));
  copy.opened.push(tree);
  const node = tree.lookup(name);
  if (node === undefined) throw new BuildError(`ADD failed: nothing came from ${url}`);
  return { tree, path: name, node, name };
}

/** Files of the context that are archives are unpacked, those from elsewhere are not. */
async function openArchives(request: CopyRequest, copy: Copy): Promise<void> {
  for (const [index, source] of copy.sources.entries()) {
    const { tree, path, node } = source;
    if (tree !== request.from || node.type !== 'file' || node.sparse !== undefined || node.sizeBytes < 8) continue;
    const { head, whole } = await peek(tree.data(path, node), 512);
    const isCompressed = compressionOf(head) !== undefined;
    if (!isCompressed && !isTarHeader(head)) {
      await whole[Symbol.asyncIterator]().return?.();
      continue;
    }
    if (isCompressed && !(await isTarInside(whole))) continue;
    const archive = await TarTree.read(
      await decompressed(isCompressed ? tree.data(path, node) : whole),
      spool(request, `archive ${JSON.stringify(Buffer.from(path, 'latin1').toString('utf8'))}`),
    );
    copy.opened.push(archive);
    const root = archive.lookup('');
    if (root !== undefined) copy.sources[index] = { tree: archive, path: '', node: root, name: source.name };
  }
}

async function isTarInside(compressed: AsyncIterable<Uint8Array>): Promise<boolean> {
  try {
    const { head, whole } = await peek(await decompressed(compressed), 512);
    await whole[Symbol.asyncIterator]().return?.();
    return isTarHeader(head);
  } catch (error) {
    // What only looks compressed is a file like any other.
    if (error instanceof EngineError && error.code === 'invalid') return false;
    throw error;
  }
}
