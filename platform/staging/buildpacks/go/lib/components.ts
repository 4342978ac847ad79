/** What programs are made of, as `go version -m` reads it out of them: each module that was linked, and Go's own library. */
import type { Component } from '../../../lifecycle/protocol.ts';

export function goComponents(output: string): Component[] {
  const found = new Map<string, Component>();
  /** A replacement stands behind what it replaces. */
  let last: string | undefined;
  for (const line of output.split('\n')) {
    const go = /^\S.*: go(\d\S*)$/.exec(line)?.[1];
    if (go !== undefined) found.set('', moduleComponent('stdlib', go));
    const [, word, path = '', version = ''] = /^\t(dep|=>)\t([^\t]+)\t([^\t]+)/.exec(line) ?? [];
    if (word === undefined) continue;
    if (word === 'dep') last = path;
    // A directory has no version: what it replaces says best what it is.
    if (word === '=>' && (last === undefined || version === '(devel)')) continue;
    found.set(last ?? path, moduleComponent(path, version));
  }
  return [...found.values()];
}

/** Package URLs: a path's parts are names, each escaped. */
function moduleComponent(name: string, version: string): Component {
  const path = name.split('/').map(encodeURIComponent).join('/');
  return { type: 'library', name, version, purl: `pkg:golang/${path}@${encodeURIComponent(version)}` };
}
