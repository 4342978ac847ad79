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
    rest.writeUInt32LE((((entry.mode ?? 0o100644) << 16) >>> 0), 6);
    rest.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from('PK\u0001\u0002'), Buffer.from([20, 3]), common, rest, name]));
    parts.push(local);
    offset += local.length;
  }
  const directoryBytes = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directoryBytes.length, 8);
  end.writeUInt32LE(offset, 12);
  const path = join(directory, `${randomUUID()}.zip`);
  writeFileSync(path, Buffer.concat([...parts, directoryBytes, Buffer.from('PK\u0005\u0006'), end]));
  return path;
}
