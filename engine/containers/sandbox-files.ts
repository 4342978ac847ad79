/** A sandbox's files: /etc/hosts and its neighbours, and the directories that they lie in; and what may be asked of them. */
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { EngineError, type Sandbox, type SandboxSpec } from '../engine.ts';
import { hostResolver, renderResolver } from '../network/resolver.ts';
import type { EngineOptions } from '../options.ts';
import { unmountBelow } from '../sys/mounts.ts';
import { type Layout, sandboxPaths } from './layout.ts';

export async function writeEtc(
  layout: Layout,
  sandbox: Sandbox,
  spec: SandboxSpec,
  log: NonNullable<EngineOptions['log']>,
): Promise<void> {
  const paths = sandboxPaths(layout, sandbox.id);
  const host = spec.dns?.servers === undefined ? await hostResolver() : undefined;
  if (host !== undefined && host.servers.length === 0) {
    log(
      'warn',
      'the host has no name server that sandboxes can reach: name one in the sandbox, or in /etc/resolv.conf',
      { sandbox: sandbox.name },
    );
  }
  const resolver = renderResolver({
    servers: spec.dns?.servers ?? host?.servers ?? [],
    searches: spec.dns?.searches ?? host?.searches ?? [],
    options: spec.dns?.options ?? host?.options ?? [],
  });
  const hosts = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    `${sandbox.ip || '127.0.1.1'}\t${sandbox.hostname}`,
    ...(spec.hostAliases ?? []).map(({ ip, names }) => `${ip}\t${names.join(' ')}`),
  ];
  const contents: [string, string][] = [
    [paths.hosts, `${hosts.join('\n')}\n`],
    [paths.resolver, resolver],
    [paths.hostname, `${sandbox.hostname}\n`],
  ];
  for (const [path, text] of contents) writeFileSync(path, text, { mode: 0o644 });
}

/** A directory that the container's root, who is nobody here, may pass through, and nobody else. */
export function makeSearchable(directory: string, firstId: number): void {
  mkdirSync(directory, { recursive: true });
  chownSync(directory, 0, firstId);
  chmodSync(directory, 0o710);
}

export async function removeSandboxFiles(layout: Layout, id: string): Promise<void> {
  const paths = sandboxPaths(layout, id);
  unmountBelow(paths.run);
  await rm(paths.run, { recursive: true, force: true });
  await rm(paths.data, { recursive: true, force: true });
}

const dnsName = /^[a-z0-9A-Z]([a-zA-Z0-9._-]{0,252})$/;
const word = /^[!-~]{1,253}$/;

/** @throws EngineError `invalid`, naming the field */
export function validateSandbox(spec: SandboxSpec): void {
  if (spec.name === '' || spec.name.length > 1024)
    throw new EngineError('invalid', 'name: a sandbox needs a name of 1 to 1024 characters');
  if (!dnsName.test(spec.hostname) || spec.hostname.length > 64) {
    throw new EngineError(
      'invalid',
      `hostname: ${JSON.stringify(spec.hostname)} is not a host name of at most 64 characters`,
    );
  }
  const words = [
    ...(spec.dns?.servers ?? []),
    ...(spec.dns?.searches ?? []),
    ...(spec.dns?.options ?? []),
    ...(spec.hostAliases ?? []).flatMap(({ ip, names }) => [ip, ...names]),
  ];
  for (const one of words) {
    if (!word.test(one))
      throw new EngineError('invalid', `dns or hostAliases: ${JSON.stringify(one)} is not a name or an address`);
  }
}
