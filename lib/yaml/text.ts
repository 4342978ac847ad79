/** What is done with a text of YAML, in the thread or beside it. */
import type { LineCounter, parseDocument, stringify } from 'yaml';

export interface YamlDoubt {
  line: number;
  key: string;
}

/** Aliases that may stand for one anchor's content: more of them would multiply it. */
const ALIAS_LIMIT = 100;

export interface YamlOptions {
  /** `<<` takes another mapping's entries in, as YAML 1.1 has it. Default: it is a key as any other. */
  merge?: boolean;
}

/** @throws where it is malformed, with the library's words */
export function readYaml(
  yaml: { parseDocument: typeof parseDocument; LineCounter: typeof LineCounter },
  text: string,
  { merge = false }: YamlOptions = {},
): { json: string; doubts: YamlDoubt[] } {
  const lineCounter = new yaml.LineCounter();
  // Its own way to show where an error is costs more than to read the text; and what it warns of would go to our log.
  const options = { uniqueKeys: true, lineCounter, prettyErrors: false, logLevel: 'error', merge } as const;
  const document = yaml.parseDocument(text, options);
  const doubts: YamlDoubt[] = [];
  for (const error of document.errors) {
    if (error.code !== 'DUPLICATE_KEY') throw new Error(`${error.message} ${place(lineCounter, error.pos[0])}`);
    const key = /^[^\s:]+/.exec(text.slice(error.pos[0]))?.[0] ?? '';
    doubts.push({ line: lineCounter.linePos(error.pos[0]).line, key });
  }
  return { json: JSON.stringify(document.toJS({ maxAliasCount: ALIAS_LIMIT }), inJson) ?? 'null', doubts };
}

function place(lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `at line ${line}, column ${col}`;
}

/** `.inf` and `.nan` would become null. */
function inJson(_key: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isFinite(value)) return value;
  throw new Error(`${value} is no number that JSON has`);
}

export function writeYaml(write: typeof stringify, json: string): string {
  return write(JSON.parse(json));
}
