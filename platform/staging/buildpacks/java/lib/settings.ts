/** Proxies and mirrors as Java's tools want them. */
type Variables = Record<string, string | undefined>;

interface Proxy {
  scheme: 'http' | 'https';
  host: string;
  port: string;
}

function proxies(environment: Variables): Proxy[] {
  const found: Proxy[] = [];
  for (const scheme of ['http', 'https'] as const) {
    const text = environment[`${scheme}_proxy`] ?? environment[`${scheme.toUpperCase()}_PROXY`];
    if (text === undefined || !URL.canParse(text)) continue;
    const { hostname, port, protocol } = new URL(text);
    if (hostname !== '') found.push({ scheme, host: hostname, port: port || (protocol === 'https:' ? '443' : '80') });
  }
  return found;
}

function without(environment: Variables): string[] {
  const list = environment['no_proxy'] ?? environment['NO_PROXY'] ?? '';
  return list
    .split(/[,\s]+/)
    .filter((name) => /^[\w.:*-]+$/.test(name))
    .map((name) => name.replace(/^\./, '*.'));
}

/** As properties of the JVM. */
export function proxyProperties(environment: Variables): string[] {
  const all = proxies(environment).flatMap(({ scheme, host, port }) => [
    `-D${scheme}.proxyHost=${host}`,
    `-D${scheme}.proxyPort=${port}`,
  ]);
  if (all.length === 0) return [];
  return [...all, `-Dhttp.nonProxyHosts=${['localhost', '127.*', ...without(environment)].join('|')}`];
}

/** Maven's own settings.xml: it does not ask the JVM about proxies. */
export function mavenSettings(environment: Variables): string {
  const exceptions = without(environment).join('|');
  const entries = proxies(environment).map(
    ({ scheme, host, port }) =>
      `    <proxy><id>${scheme}</id><active>true</active><protocol>${scheme}</protocol><host>${escape(host)}</host><port>${port}</port><nonProxyHosts>${escape(exceptions)}</nonProxyHosts></proxy>`,
  );
  const mirror = environment['MAVEN_MIRROR_URL'];
  const mirrors =
    mirror === undefined || mirror === ''
      ? []
      : [`    <mirror><id>mirror</id><mirrorOf>external:*</mirrorOf><url>${escape(mirror)}</url></mirror>`];
  return [
    '<settings>',
    ...(entries.length === 0 ? [] : ['  <proxies>', ...entries, '  </proxies>']),
    ...(mirrors.length === 0 ? [] : ['  <mirrors>', ...mirrors, '  </mirrors>']),
    '</settings>',
    '',
  ].join('\n');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
