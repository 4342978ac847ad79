/** The directories of a sandbox, and what may be asked of one. */
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { EngineError, type SandboxSpec } from '../engine.ts';
import { unmountBelow } from '../sys/mounts.ts';
import { type Layout, sandboxPaths } from './layout.ts';

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
  if (spec.hostsComment !== undefined && !/^[ -~]{0,200}$/.test(spec.hostsComment))
    throw new EngineError('invalid', `hostsComment: ${JSON.stringify(spec.hostsComment)} is not one line of text`);
  const words = [
    ...(spec.domain === undefined ? [] : [spec.domain]),
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
