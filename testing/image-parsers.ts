/** Every parser of untrusted bytes of images, layers and the registry, with a corpus for each: `fuzz` runs them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { readConfig, writeConfig } from '#engine/build/config.ts';
import { BuildError } from '#engine/build/dockerfile/instruction.ts';
import { applyChanges } from '#engine/docker-api/config-changes.ts';
import { EngineError } from '#engine/engine.ts';
import { type ArchiveStore, imagesOfArchive } from '#engine/images/archive.ts';
import { parseChallenges } from '#lib/http-challenges.ts';
import { LayerEntries } from '#engine/images/layer-entries.ts';
import { parseImageConfig, parseManifest } from '#engine/images/manifest.ts';
import { canonicalReference, isRepository, parseReference } from '#engine/images/reference.ts';
import { diffIdOf } from '#engine/images/unpack.ts';
import { parseRange } from '#engine/registry/blobs.ts';
import { parseBasic } from '#engine/registry/caller.ts';
import { RegistryError } from '#engine/registry/errors.ts';
import { parseScopes, readToken, signToken, tokenKey } from '#engine/registry/tokens.ts';
import { parseContentRange } from '#engine/registry/uploads.ts';
import { digestOf, isDigest } from '#lib/digest.ts';
import { readTar } from '#lib/tar/read.ts';
import { TarError } from '#lib/tar/tar.ts';
import { encodeHeader } from '#lib/tar/write.ts';
import { type Fuzz, readCorpus } from './fuzz.ts';

const corpusOf = (name: string): Buffer[] =>
  readCorpus(join(import.meta.dirname, '../engine/images/testdata/fuzz', name));
const isInvalid = (error: unknown): boolean => error instanceof EngineError && error.code === 'invalid';
const isRefused = (error: unknown): boolean => error instanceof RegistryError;

const DIGEST = digestOf('x');
const descriptor = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: DIGEST, size: 1 };
const manifest = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: descriptor,
  layers: [descriptor],
  subject: descriptor,
  artifactType: 'a/b',
  annotations: { a: 'b' },
};
const index = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [
    {
      ...descriptor,
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
      annotations: { 'io.containerd.image.name': 'a:1' },
    },
  ],
};
const config = {
  created: '2024-01-02T03:04:05Z',
  architecture: 'amd64',
  os: 'linux',
  config: {
    User: '1:2',
    Env: ['A=b'],
    Cmd: ['c'],
    Labels: { l: 'm' },
    ExposedPorts: { '80/tcp': {} },
    Volumes: { '/v': {} },
    Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 1_000_000_000, Timeout: 1, StartPeriod: 0, Retries: 3 },
  },
  rootfs: { type: 'layers', diff_ids: [DIGEST] },
  history: [{ created: '2024-01-02T03:04:05Z', created_by: 'x', empty_layer: true }],
};
const WORDS = [...Object.keys(manifest), ...Object.keys(config), '__proto__', 'null', '[]', '{}', 'sha512:', '\\u0000'];
const key = tokenKey('a key for this corpus');
const token = signToken(key, 'registry', { subject: 'u', access: [] });

/** Two bytes of length ahead of each file of the archive. */
function pack(...files: unknown[]): Buffer {
  return Buffer.concat(
    files.map((file) => {
      const bytes = Buffer.from(JSON.stringify(file));
      return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
    }),
  );
}

export const IMAGE_PARSERS: readonly Omit<Fuzz, 'inputs'>[] = [
  {
    name: 'tar and layers',
    corpus: corpusOf('tar'),
    dictionary: ['../', '.wh.', '.wh..wh..opq', 'ustar\0', '11 path=a/b\n', 'GNU.sparse.map', 'SCHILY.xattr.'],
    refuses: (error) => error instanceof TarError,
    run: async (input) => {
      repairChecksums(input);
      const entries = new LayerEntries();
      let count = 0;
      for await (const entry of readTar(once(input), { encoding: 'latin1', maxEntries: 1000 })) {
        for (const header of entries.accept(entry).headers) {
          assert.ok(!header.name.startsWith('/') && !header.name.split('/').includes('..'), header.name);
          encodeHeader(header, { encoding: 'latin1' });
        }
        count += 1;
      }
      return count;
    },
  },
  {
    name: 'compressed layers',
    corpus: [gzipSync('layer'.repeat(99)), zstdCompressSync('layer'.repeat(99)), deflateSync('x'), 'plain'],
    refuses: isInvalid,
    run: async (input) => isDigest(await diffIdOf(Readable.from([input]), input.length)),
  },
  {
    name: 'manifests and indexes',
    corpus: [JSON.stringify(manifest), JSON.stringify(index)],
    dictionary: WORDS,
    refuses: isInvalid,
    run: (input) => {
      const found = parseManifest(input, 'application/vnd.oci.image.manifest.v1+json');
      const parts = found.kind === 'index' ? found.manifests : [found.config, ...found.layers];
      assert.ok(parts.every(({ digest, size }) => isDigest(digest) && size >= 0));
      return `${found.kind} ${parts.length} ${found.subject === undefined}`;
    },
  },
  {
    name: 'configurations',
    corpus: [JSON.stringify(config), JSON.stringify({ rootfs: {} })],
    dictionary: WORDS,
    refuses: isInvalid,
    run: (input) => {
      const { config: read, history } = parseImageConfig(input);
      assert.ok(read.layers.every(isDigest));
      return `${Object.keys(read).join()} ${history.length}`;
    },
  },
  {
    name: 'archives',
    corpus: [
      pack(['index.json', index]),
      pack(['manifest.json', [{ Config: 'c', RepoTags: ['a:1'], Layers: ['l'] }]], ['c', config], ['l', 1]),
      pack(
        ['repositories', { a: { b: 'i' } }],
        ['i/json', { parent: 'j', id: 'i' }],
        ['i/layer.tar', 1],
        ['j/json', {}],
        ['j/layer.tar', 2],
      ),
    ],
    dictionary: [...WORDS, 'Config', 'Layers', 'RepoTags', 'parent', 'layer.tar'],
    refuses: (error) => error instanceof EngineError,
    run: async (input) => {
      const store = memoryStore();
      const files = new Map<string, { digest: string; size: number }>();
      for (let at = 0; at + 2 <= input.length; ) {
        const end = at + 2 + input.readUInt16BE(at);
        const [name, content] = split(input.subarray(at + 2, end));
        const { digest, sizeBytes } = await store.write(content, {});
        files.set(name, { digest, size: sizeBytes });
        at = end;
      }
      return (await imagesOfArchive(store, files)).size;
    },
  },
  {
    name: 'references',
    corpus: ['host:5000/a/b-c__d.e:tag', `docker.io/x@${DIGEST}`, 'localhost/a', '[::1]:5/x:y@sha512:0', 'x'],
    refuses: isInvalid,
    run: (input) => {
      const reference = parseReference(input.toString('utf8'));
      const text = canonicalReference(reference);
      assert.equal(canonicalReference(parseReference(text)), text);
      return Object.keys(reference).join();
    },
  },
  {
    name: 'challenges',
    corpus: ['Bearer realm="https://a/b",service=c,scope="d:e:f", Basic realm="x"', 'Negotiate, Digest a = "b\\"c"'],
    run: (input) =>
      parseChallenges(input.toString('latin1'))
        .map(({ parameters }) => parameters.size)
        .join(),
  },
  {
    name: 'scopes',
    corpus: ['repository:a/b:pull,push registry:catalog:*', 'repository(plugin):a:*', 'repository:h:5/a:pull'],
    run: (input) => {
      const scopes = parseScopes([input.toString('utf8')]);
      assert.ok(scopes?.every(({ type, name }) => type === 'registry' || isRepository(name)) ?? true);
      return scopes?.map(({ actions }) => actions.join()).join(' ');
    },
  },
  {
    name: 'tokens and passwords',
    corpus: [token, `Basic ${btoa('a:b')}`, 'Basic !', 'a.b.c'],
    run: (input) => {
      const text = input.toString('latin1');
      const claims = readToken(key, 'registry', text);
      assert.ok(claims === undefined || text.startsWith(token.slice(0, -2)), 'a forged token is taken');
      return `${claims === undefined} ${Object.keys(parseBasic(text)).join()}`;
    },
  },
  {
    name: 'ranges',
    corpus: ['bytes=0-99', 'bytes=-5', 'bytes=5-', 'bytes=0-1,5-6', 'bytes 0-99/100', '0-99', '5-6/*'],
    refuses: isRefused,
    run: (input) => {
      const text = input.toString('latin1');
      const range = parseRange(text, 100);
      if (range !== undefined) assert.ok(range.start >= 0 && range.start <= range.end && range.end < 100);
      const start = parseContentRange(text);
      assert.ok(start === undefined || Number.isSafeInteger(start));
      return `${range === undefined} ${start === undefined}`;
    },
  },
  {
    name: 'changes of an import',
    corpus: [
      'CMD ["a","b"]',
      'ENV A=b C="d \\" e" F=\'g\'',
      'LABEL a b',
      'EXPOSE 80 53/udp',
      'VOLUME /a /b',
      'HEALTHCHECK --interval=1m30s --retries=2 CMD ["a"]',
      'constructor x',
    ],
    refuses: (error) => error instanceof BuildError,
    run: (input) => {
      const config = readConfig({});
      applyChanges(config, [input.toString('utf8')]);
      return Object.keys(writeConfig(config)).join();
    },
  },
];

function repairChecksums(archive: Buffer): void {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    const block = archive.subarray(at, at + 512);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    block.fill(0x20, 148, 156);
    let sum = 0;
    for (const byte of block) sum += byte;
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** A name and a document in JSON; anything else is a file called `x`. */
function split(bytes: Buffer): [string, Buffer] {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (Array.isArray(value) && typeof value[0] === 'string')
      return [value[0], Buffer.from(JSON.stringify(value[1]) ?? '')];
  } catch {
    // What is no JSON is a file all the same.
  }
  return ['x', bytes];
}

function memoryStore(): ArchiveStore {
  const blobs = new Map<string, Buffer>();
  const get = (digest: string): Buffer => {
    const bytes = blobs.get(digest);
    if (bytes === undefined) throw new EngineError('not-found', 'no such blob');
    return bytes;
  };
  return {
    path: (digest) => (blobs.has(digest) ? digest : undefined),
    read: async (digest) => Readable.from([get(digest)]),
    readAll: async (digest) => get(digest),
    write: async (source) => {
      const bytes = Buffer.from(source as Uint8Array);
      blobs.set(digestOf(bytes), bytes);
      return { digest: digestOf(bytes), sizeBytes: bytes.length };
    },
  };
}
