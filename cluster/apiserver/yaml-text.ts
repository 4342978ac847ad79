/** What is done with a text of YAML, in the thread or beside it. */
import type { LineCounter, parseDocument, stringify } from 'yaml';

export interface YamlDoubt {
  line: number;
  key: string;
}

/** Aliases that may stand for one anchor's content: more of them would multiply it. */
const ALIAS_LIMIT = 50;

/** @throws where it is malformed, with the library's words */
export function readYaml(
  yaml: { parseDocument: typeof parseDocument; LineCounter: typeof LineCounter },
  text: string,
): { json: string; doubts: YamlDoubt[] } {
  const lineCounter = new yaml.LineCounter();
  const document = yaml.parseDocument(text, { uniqueKeys: true, lineCounter, prettyErrors: false, logLevel: 'error' });
  const doubts: YamlDoubt[] = [];
  for (const error of document.errors) {
    if (error.code !== 'DUPLICATE_KEY') throw error;
    const key = /^[^\s:]+/.exec(text.slice(error.pos[0]))?.[0] ?? '';
    doubts.push({ line: lineCounter.linePos(error.pos[0]).line, key });
  }
  return { json: JSON.stringify(document.toJS({ maxAliasCount: ALIAS_LIMIT })) ?? 'null', doubts };
}

export function writeYaml(write: typeof stringify, json: string): string {
  return write(JSON.parse(json));
}
