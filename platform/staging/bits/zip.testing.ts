/** Zip files for tests, honest and hostile: stored entries with whatever name, mode and sizes are asked for. */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateRawSync } from 'node:zlib';

export interface TestEntry {
  name: string | Buffer;
  content?: string | Buffer;
  /** `st_mode`; default a file 0644. */
  mode?: number;
  deflate?: boolean;
  /** Lies about the unpacked size. */
  claims?: number;
  flags?: number;
}

/** Returns the file's path. */
export function zipOf(directory: string, files: Record<string, string>): string {
  const mode = (name: string) => (name.endsWith('.sh') ? 0o100755 : 0o100644);
  return hostileZip(
    directory,
    Object.entries(files).map(([name, content]) => ({ name, content, mode: mode(name) })),
  );
}

export function hostileZip(directory: string, entries: readonly TestEntry[]): string {
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const content = Buffer.from(entry.content ?? '');
    const data = entry.deflate === true ? deflateRawSync(content) : content;
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(entry.flags ?? 0x0800, 2);
    common.writeUInt16LE(entry.deflate === true ? 8 : 0, 4);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(entry.claims ?? content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from('PK\u0003\u0004'), common, name, data]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from('PK\u0001\u0002'), Buffer.from([20, 3]), common, rest, name]));
    parts.push(local);
    offset += local.length;
  }
  const directoryBytes = Buffer.concat(central);
  const end = Buffer.alloc(18);
  // Beyond 65,535 entries the number stands in a record of its own (APPNOTE.TXT 4.3.14).
  const many = entries.length >= 0xffff;
  const zip64 = Buffer.alloc(many ? 76 : 0);
  if (many) {
    zip64.write('PK\u0006\u0006', 0, 'latin1');
    zip64.writeBigUInt64LE(44n, 4);
    zip64.writeBigUInt64LE(BigInt(entries.length), 24);
    zip64.writeBigUInt64LE(BigInt(entries.length), 32);
    zip64.writeBigUInt64LE(BigInt(directoryBytes.length), 40);
    zip64.writeBigUInt64LE(BigInt(offset), 48);
    zip64.write('PK\u0006\u0007', 56, 'latin1');
    zip64.writeBigUInt64LE(BigInt(offset + directoryBytes.length), 64);
    zip64.writeUInt32LE(1, 72);
  }
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 4);
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 6);
  end.writeUInt32LE(directoryBytes.length, 8);
  end.writeUInt32LE(offset, 12);
  const path = join(directory, `${randomUUID()}.zip`);
  writeFileSync(path, Buffer.concat([...parts, directoryBytes, zip64, Buffer.from('PK\u0005\u0006'), end]));
  return path;
}
