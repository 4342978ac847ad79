/**
 * The host's package sources, cut down to those of the distribution's own release: what the host trusts and reaches is
 * what the stack is made from, mirrors and proxies included.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StagingError } from '../staging.ts';

const run = promisify(execFile);

/** `VERSION_CODENAME` of os-release: `bookworm`, `trixie`, `noble`. */
export async function hostSuite(path = '/etc/os-release'): Promise<string> {
  const text = await readFile(path, 'utf8');
  const suite = /^VERSION_CODENAME="?([a-z][a-z0-9.-]*)"?$/m.exec(text)?.[1];
  if (suite === undefined) {
    throw new StagingError(
      'internal',
      `build base stack: ${path} names no VERSION_CODENAME; Debian or Ubuntu is needed`,
    );
  }
  return suite;
}

/** A sources file in deb822 format for the suite; empty where the host has none for it. */
export async function sourcesFor(suite: string, directory = '/etc/apt'): Promise<string> {
  const stanzas: string[] = [];
  const inDirectory = (await readdir(join(directory, 'sources.list.d')).catch(() => [])).sort();
  for (const name of ['sources.list', ...inDirectory.map((file) => join('sources.list.d', file))]) {
    const text = await readFile(join(directory, name), 'utf8').catch(() => '');
    if (name.endsWith('.sources')) stanzas.push(...fromDeb822(text, suite));
    else if (name.endsWith('.list')) stanzas.push(...fromLines(text, suite));
  }
  return stanzas.join('\n\n');
}

/** Proxy, certificate and retry settings of the host's apt, as options for another one. */
export async function aptTransportOptions(): Promise<string[]> {
  const { stdout } = await run('apt-config', ['dump', '--no-empty']).catch(() => ({ stdout: '' }));
  return stdout
    .split('\n')
    .filter((line) => /^Acquire::(http|https|Retries|ForceIPv[46]|by-hash)\b[^\s]* "[^"]*";$/i.test(line));
}

function fromDeb822(text: string, suite: string): string[] {
  const found: string[] = [];
  for (const stanza of text.split(/\n\s*\n/)) {
    const fields = new Map<string, string>();
    let last = '';
    for (const line of stanza.split('\n')) {
      if (line.startsWith('#') || line.trim() === '') continue;
      const match = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
      if (match !== null) {
        last = (match[1] ?? '').toLowerCase();
        fields.set(last, match[2] ?? '');
      } else if (/^\s/.test(line)) fields.set(last, `${fields.get(last) ?? ''}\n${line}`);
    }
    if (/^no$/i.test(fields.get('enabled') ?? 'yes')) continue;
    if (!words(fields.get('types')).includes('deb')) continue;
    const entry = stanzaFor(suite, {
      uris: words(fields.get('uris')),
      suites: words(fields.get('suites')),
      components: words(fields.get('components')),
      signedBy: fields.get('signed-by'),
    });
    if (entry !== undefined) found.push(entry);
  }
  return found;
}

function fromLines(text: string, suite: string): string[] {
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line);
    if (match === null) continue;
    const entry = stanzaFor(suite, {
      uris: [match[2] ?? ''],
      suites: [match[3] ?? ''],
      components: words(match[4]),
      signedBy: /signed-by=(\S+)/.exec(match[1] ?? '')?.[1],
    });
    if (entry !== undefined) found.push(entry);
  }
  return found;
}

interface Source {
  uris: string[];
  suites: string[];
  components: string[];
  signedBy: string | undefined;
}

function stanzaFor(suite: string, source: Source): string | undefined {
  const suites = source.suites.filter(
    (name) => name === suite || /^-(updates|security)$/.test(name.slice(suite.length)),
  );
  const matching = suites.filter((name) => name.startsWith(suite));
  if (matching.length === 0 || !source.components.includes('main')) return undefined;
  return [
    'Types: deb',
    `URIs: ${source.uris.join(' ')}`,
    `Suites: ${matching.join(' ')}`,
    'Components: main',
    ...(source.signedBy === undefined ? [] : [`Signed-By: ${source.signedBy}`]),
  ].join('\n');
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}
