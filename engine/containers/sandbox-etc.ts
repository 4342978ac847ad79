/** `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` of a sandbox. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { hostResolver, renderResolver } from '#lib/dns/resolv-conf.ts';
import type { Sandbox } from '../engine.ts';
import type { EngineOptions } from '../options.ts';
import { BRIDGE, attachmentsOf } from './attachments.ts';
import type { SandboxPaths } from './layout.ts';

export interface EtcOptions {
  /** Where names of user-defined networks are asked. */
  resolver: string;
  log: NonNullable<EngineOptions['log']>;
}

/** Written in place: containers have these very files mounted. */
export async function writeEtc(paths: SandboxPaths, sandbox: Sandbox, { resolver, log }: EtcOptions): Promise<void> {
  const { dns, hostname } = sandbox;
  const attachments = attachmentsOf(sandbox);
  const hasNames = attachments.some(({ network }) => network !== BRIDGE);
  const isAlone = attachments.length === 0 && sandbox.network !== 'host';
  const host = dns?.servers === undefined || hasNames ? hostResolver() : undefined;
  if (host !== undefined && host.servers.length === 0 && !hasNames && !isAlone) {
    log(
      'warn',
      'the host has no name server that sandboxes can reach: name one in the sandbox, or in /etc/resolv.conf',
      { sandbox: sandbox.name },
    );
  }
  const options = dns?.options ?? host?.options ?? [];
  const settings = renderResolver({
    servers: hasNames ? [resolver] : (dns?.servers ?? host?.servers ?? []),
    searches: dns?.searches ?? host?.searches ?? [],
    // A name without a dot is asked for as it is first: it may be a container's.
    options: hasNames && !options.some((option) => option.startsWith('ndots:')) ? [...options, 'ndots:0'] : options,
  });
  const names = sandbox.domain === undefined ? hostname : `${hostname}.${sandbox.domain}\t${hostname}`;
  const hosts = [
    ...(sandbox.hostsComment === undefined ? [] : [`# ${sandbox.hostsComment}`]),
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    ...(sandbox.network === 'host'
      ? [`127.0.1.1\t${names}`]
      : attachments.flatMap(({ ip, ip6 }) =>
          [ip, ...(ip6 === undefined ? [] : [ip6])].map((one) => `${one}\t${names}`),
        )),
    ...(sandbox.hostAliases ?? []).map(({ ip, names }) => `${ip}\t${names.join('\t')}`),
  ];
  const contents: [string, string][] = [
    [paths.hosts, `${hosts.join('\n')}\n`],
    [paths.resolver, settings],
    [paths.hostname, `${hostname}\n`],
  ];
  for (const [path, text] of contents)
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text, { mode: 0o644 });
}
