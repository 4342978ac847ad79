/** Records of sandboxes as they lie beside their namespaces. */
import type { Sandbox } from '../engine.ts';
import type { SandboxPaths } from './layout.ts';

/** `pooled` ones have neither name nor hostname yet. */
export interface SandboxRecord extends Sandbox {
  pooled: boolean;
}

/** Whether what it is made of is still there. */
export function isWhole(
  { userNamespacePath, network }: Sandbox,
  paths: SandboxPaths,
  bound: ReadonlySet<string>,
): boolean {
  return (
    (userNamespacePath === undefined || bound.has(paths.userNamespace)) &&
    (network === 'host' || bound.has(paths.networkNamespace))
  );
}

/** Records of older engines name neither networks nor the link's own address. */
export function hasLink({ networks, mac }: Sandbox): boolean {
  return networks === undefined || mac !== undefined;
}

export function isSandboxRecord(value: unknown): value is SandboxRecord {
  return (
    typeof value === 'object' &&
    value !== null &&
    'id' in value &&
    'ip' in value &&
    'idRange' in value &&
    'pooled' in value &&
    typeof value.id === 'string' &&
    typeof value.ip === 'string'
  );
}

export function isCursor(value: unknown): value is { cursor: number } {
  return typeof value === 'object' && value !== null && 'cursor' in value && Number.isSafeInteger(value.cursor);
}
