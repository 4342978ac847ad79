/** The hash of a module's files, as go.sum and Go's checksum database have it (golang.org/x/mod/sumdb/dirhash, `h1:`). */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** @param prefix  of every name: `golang.org/x/text@v0.3.0` */
export function moduleHash(root: string, prefix: string): string {
  const files = readdirSync(root, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
  const list = createHash('sha256');
  for (const file of files.map((name) => `${prefix}/${name}`).sort(byBytes)) {
    const hash = createHash('sha256')
      .update(readFileSync(join(root, file.slice(prefix.length + 1))))
      .digest('hex');
    list.update(`${hash}  ${file}\n`);
  }
  return `h1:${list.digest('base64')}`;
}

function byBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
