/**
 * Staticfile: the settings of a static site, `key: value` lines (Cloud Foundry's format, docs "Staticfile buildpack").
 */
export interface StaticSite {
  /** Relative to the source. */
  root: string;
  /** Paths without a file are answered with index.html: routing in the browser. */
  pushState: boolean;
  directoryListing: boolean;
  serverSideIncludes: boolean;
  /** Files whose names begin with a dot are served. */
  dotFiles: boolean;
  forceHttps: boolean;
  strictTransportSecurity: 'off' | 'on' | 'with-subdomains' | 'preload';
  statusPages: Map<string, string>;
}

export class StaticfileError extends Error {}

export function parseStaticfile(text: string): StaticSite {
  const site: StaticSite = {
    root: '',
    pushState: false,
    directoryListing: false,
    serverSideIncludes: false,
    dotFiles: false,
    forceHttps: false,
    strictTransportSecurity: 'off',
    statusPages: new Map(),
  };
  let inStatusCodes = false;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || /^\s*#/.test(line) || line.trim() === '---') continue;
    const match = /^(\s*)([A-Za-z0-9_]+):\s*(.*?)\s*$/.exec(line);
    const fail = (why: string) => new StaticfileError(`Staticfile, line ${index + 1}: ${why}`);
    if (match === null) throw fail(`${JSON.stringify(line.slice(0, 80))} is not "key: value"`);
    const [, indent = '', key = '', raw = ''] = match;
    const value = raw.replace(/^(["'])(.*)\1$/, '$2');
    if (inStatusCodes && indent !== '') {
      if (!/^[345]\d\d$/.test(key) || !isPlainPath(value)) throw fail('status_codes wants lines like "404: /404.html"');
      site.statusPages.set(key, value.startsWith('/') ? value : `/${value}`);
      continue;
    }
    inStatusCodes = key === 'status_codes';
    const on = /^(enabled|true|yes|on|visible)$/i.test(value);
    if (key === 'root') {
      if (!isPlainPath(value) || value.startsWith('/'))
        throw fail(`root ${JSON.stringify(value)} must be a path below the source`);
      site.root = value.replace(/^\.\//, '').replace(/\/+$/, '');
    } else if (key === 'pushstate') site.pushState = on;
    else if (key === 'directory') site.directoryListing = on;
    else if (key === 'ssi') site.serverSideIncludes = on;
    else if (key === 'host_dot_files') site.dotFiles = on;
    else if (key === 'force_https') site.forceHttps = on;
    else if (key === 'http_strict_transport_security' && on) strengthen(site, 'on');
    else if (key === 'http_strict_transport_security_include_subdomains' && on) strengthen(site, 'with-subdomains');
    else if (key === 'http_strict_transport_security_preload' && on) strengthen(site, 'preload');
    else if (!inStatusCodes && !key.startsWith('http_strict_transport_security')) {
      throw fail(
        `${JSON.stringify(key)} is no setting; there are root, pushstate, directory, ssi, host_dot_files, force_https, http_strict_transport_security, status_codes`,
      );
    }
  }
  return site;
}

function strengthen(site: StaticSite, level: StaticSite['strictTransportSecurity']): void {
  const levels = ['off', 'on', 'with-subdomains', 'preload'];
  if (levels.indexOf(level) > levels.indexOf(site.strictTransportSecurity)) site.strictTransportSecurity = level;
}

/** Goes into nginx's configuration: nothing there that has a meaning in it, and no way up. */
function isPlainPath(path: string): boolean {
  return /^[A-Za-z0-9_./@+-]*$/.test(path) && !path.split('/').includes('..');
}
