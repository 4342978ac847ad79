import type { EngineOptions } from '#engine/options.ts';
import { existsSync } from 'node:fs';
import { caFile, readCa } from './certificates.ts';
import { ensureSecrets } from './secrets.ts';
import type { Instance } from './instance.ts';

/** How the instance's own engine is opened: by the agent, and by `down` when no agent runs. */
export function engineOptions(instance: Instance): EngineOptions {
  return {
    instance: instance.name,
    dataDirectory: instance.dataDirectory,
    runDirectory: instance.runDirectory,
    network: instance.network,
    idRange: instance.idRange,
    registries: registries(instance),
    ...(process.env.SAMPAN_RUNTIME ? { runtime: process.env.SAMPAN_RUNTIME } : {}),
  };
}

function registries(instance: Instance): EngineOptions['registries'] {
  if (!existsSync(caFile(instance))) return {};
  const own = { username: 'node', password: ensureSecrets(instance).registry.node, ca: readCa(instance) };
  return { [registryHost(instance)]: own };
}

/** What image references of the instance's own registry begin with. */
export function registryHost(instance: Instance): string {
  return `127.0.0.1:${instance.ports.registry}`;
}
