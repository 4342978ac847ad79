/** The protobuf field numbers of API types, read from the tags of their Go structs. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

interface MessageFields {
  values?: Record<string, number>;
  pointers?: Record<string, number>;
  inline?: Record<string, number>;
}

/** By the name of the schema, `io.k8s.api.batch.v1.Job`. */
export function goFieldNumbers(root: string): Map<string, MessageFields> {
  const messages = new Map<string, MessageFields>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name !== 'types.go') continue;
    const folder = relative(root, entry.parentPath).split('/').slice(1);
    // `kubernetes/api/batch/v1` and `kubernetes/apimachinery/pkg/apis/meta/v1`
    const group = folder.length === 2 ? folder : folder.slice(-2);
    const prefix = folder[0] === 'pkg' ? `io.k8s.apimachinery.${folder.join('.')}.` : `io.k8s.api.${group.join('.')}.`;
    const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
    for (const [, name = '', body = ''] of text.matchAll(/^type (\w+) struct \{\n([\s\S]*?)^\}/gm)) {
      const fields = fieldsOf(body, prefix);
      if (Object.keys(fields).length > 0) messages.set(prefix + name, fields);
    }
  }
  return messages;
}

function fieldsOf(body: string, prefix: string): MessageFields {
  const fields: MessageFields = {};
  for (const [, declared = '', tag = ''] of body.matchAll(/^\t([^`\n/]+?)\s*`([^`]*)`/gm)) {
    const number = Number(/protobuf:"\w+,(\d+)/.exec(tag)?.[1] ?? 0);
    const json = /json:"([^",]*)/.exec(tag)?.[1] ?? '';
    if (number === 0) continue;
    const type = declared.trim().split(/\s+/).at(-1) ?? '';
    if (json === '') (fields.inline ??= {})[type.includes('.') ? type : prefix + type] = number;
    else if (/^(\*|\[\]|map\[)/.test(type) && type !== '[]byte') (fields.pointers ??= {})[json] = number;
    else (fields.values ??= {})[json] = number;
  }
  return fields;
}
