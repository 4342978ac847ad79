/**
 * `WWW-Authenticate` as a server sends it (RFC 9110, 11.6.1): several challenges in one header or in several, each a
 * scheme with parameters. What is not well-formed ends the list; what was read until then counts.
 */
export interface Challenge {
  /** In lower case. */
  scheme: string;
  /** By name in lower case; the first of one name counts. */
  parameters: ReadonlyMap<string, string>;
}

const LONGEST = 16 * 1024;
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const SCHEME = new RegExp(`[ \\t,]*(${TOKEN})(?=[ \\t,]|$)(?![ \\t]*=)`, 'y');
const PARAMETER = new RegExp(`[ \\t,]*(${TOKEN})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))`, 'y');

export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, LONGEST);
  const challenges: Challenge[] = [];
  let at = 0;
  const next = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (let scheme = next(SCHEME); scheme !== null; scheme = next(SCHEME)) {
    const parameters = new Map<string, string>();
    for (let match = next(PARAMETER); match !== null; match = next(PARAMETER)) {
      const name = match[1]?.toLowerCase() ?? '';
      const value = match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? '';
      if (!parameters.has(name)) parameters.set(name, value);
    }
    challenges.push({ scheme: scheme[1]?.toLowerCase() ?? '', parameters });
  }
  return challenges;
}
