import { timingSafeEqual, createHash } from 'node:crypto';
import type { Instance } from './instance.ts';
import { adminPassword, ensureSecrets } from './secrets.ts';

interface RegistryRequest {
  username?: string;
  password?: string;
  action: 'pull' | 'push' | 'delete' | 'catalog';
}

/** Who may do what in the instance's registry: the administrator and the platform everything, the node may pull. */
export function registryRights(instance: Instance): (request: RegistryRequest) => boolean {
  const secrets = ensureSecrets(instance);
  const accounts = new Map([
    ['admin', { password: digest(adminPassword(instance)), write: true }],
    ['platform', { password: digest(secrets.registry.platform), write: true }],
    ['node', { password: digest(secrets.registry.node), write: false }],
  ]);
  return ({ username, password, action }) => {
    const account = accounts.get(username ?? '');
    if (!account || !timingSafeEqual(account.password, digest(password ?? ''))) return false;
    return account.write || action === 'pull';
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
