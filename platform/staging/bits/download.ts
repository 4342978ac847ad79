/** A package as a zip file, streamed: stored entries, sizes and checksums known before each (APPNOTE.TXT 4.3). */
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { readTar } from '#lib/tar/read.ts';
import type { Layer } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { StagingError } from '../staging.ts';
import { WORKSPACE } from './package-image.ts';

/** 1980-01-01, the earliest that a zip can say. */
const DOS_DATE = 0x21;
const UTF8 = 0x0800;
const DESCRIPTOR = 0x0008;

export function zipOfPackage(registry: RegistryClient, repository: string, layer: Layer, files: number): Readable {
  return Readable.from(zip(registry, repository, layer, files), { objectMode: false });
}

async function* zip(registry: RegistryClient, repository: string, layer: Layer, files: number): AsyncGenerator<Buffer> {
  const source = await registry.readBlob(repository, layer.digest);
  if (source === undefined) throw new StagingError('registry', `registry lost layer ${layer.digest}`);
  if (layer.sizeBytes > 0xffff_0000 || files > 0xfff0) {
    source.destroy();
    throw new StagingError('too-large', 'the package is too large for a plain zip file');
  }
  const central: Buffer[] = [];
  let offset = 0;
  for await (const entry of readTar(source as AsyncIterable<Buffer>)) {
    const path = entry.name.slice(WORKSPACE.length + 1);
    if (path === '' || (entry.type !== 'file' && entry.type !== 'symlink' && entry.type !== 'directory')) continue;
    const name = Buffer.from(entry.type === 'directory' ? `${path}/` : path);
    const format = { file: 0o100000, symlink: 0o120000, directory: 0o040000 }[entry.type];
    const start = offset;
    const local = header(0x04034b50, 20, name);
    yield local;
    offset += local.length;
    let crc = 0;
    let size = 0;
    const data = entry.type === 'symlink' ? [Buffer.from(entry.linkName ?? '')] : entry.data();
    for await (const chunk of data) {
      crc = crc32(chunk, crc);
      size += chunk.length;
      yield chunk;
    }
    const descriptor = Buffer.alloc(16);
    descriptor.writeUInt32LE(0x08074b50, 0);
    descriptor.writeUInt32LE(crc, 4);
    descriptor.writeUInt32LE(size, 8);
    descriptor.writeUInt32LE(size, 12);
    yield descriptor;
    offset += size + descriptor.length;
    central.push(centralEntry(name, { crc, size, start, attributes: ((format | entry.mode) << 16) >>> 0 }));
  }
  const directory = Buffer.concat(central);
  yield directory;
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(central.length, 8);
  end.writeUInt16LE(central.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  yield end;
}

function header(signature: number, version: number, name: Buffer): Buffer {
  const block = Buffer.alloc(30);
  block.writeUInt32LE(signature, 0);
  block.writeUInt16LE(version, 4);
  block.writeUInt16LE(UTF8 | DESCRIPTOR, 6);
  block.writeUInt16LE(DOS_DATE, 12);
  block.writeUInt16LE(name.length, 26);
  return Buffer.concat([block, name]);
}

function centralEntry(name: Buffer, entry: { crc: number; size: number; start: number; attributes: number }): Buffer {
  const block = Buffer.alloc(46);
  block.writeUInt32LE(0x02014b50, 0);
  // Made on Unix, so that modes count.
  block.writeUInt16LE((3 << 8) | 20, 4);
  block.writeUInt16LE(20, 6);
  block.writeUInt16LE(UTF8 | DESCRIPTOR, 8);
  block.writeUInt16LE(DOS_DATE, 14);
  block.writeUInt32LE(entry.crc, 16);
  block.writeUInt32LE(entry.size, 20);
  block.writeUInt32LE(entry.size, 24);
  block.writeUInt16LE(name.length, 28);
  block.writeUInt32LE(entry.attributes, 38);
  block.writeUInt32LE(entry.start, 42);
  return Buffer.concat([block, name]);
}
