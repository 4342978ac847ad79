/**
 * What of the host's settings reaches builds: proxies, and the registries of packages. Addresses with a password in them stay here,
 * and so does everything else of npm's and other tools' configuration: builds have no credentials.
 */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { languageRegistries, registryAddresses } from './language-registries.ts';

const NPM_REGISTRY = 'https://registry.npmjs.org';
const PROXIES = ['http_proxy', 'https_proxy', 'no_proxy', 'all_proxy'];

export function hostEnvironment(environment: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PROXIES) {
    const value = environment[name] ?? environment[name.toUpperCase()];
    if (value === undefined || value === '' || hasPassword(value)) continue;
    passed[name] = value;
    passed[name.toUpperCase()] = value;
  }
  const registry = npmRegistry(environment);
  if (registry !== undefined && !hasPassword(registry)) passed['npm_config_registry'] = registry;
  for (const [name, value] of Object.entries(languageRegistries(environment)))
    if (!hasPassword(value)) passed[name] = value;
  return passed;
}

/** As npm finds it: environment, the user's file, the system's. Undefined: npm's default. */
export function npmRegistry(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const direct = environment['npm_config_registry'] ?? environment['NPM_CONFIG_REGISTRY'];
  if (direct !== undefined && direct !== '') return direct;
  const files = [
    environment['npm_config_userconfig'] ?? join(homedir(), '.npmrc'),
    environment['npm_config_globalconfig'] ?? '/etc/npmrc',
  ];
  for (const file of files) {
    if (!existsSync(file)) continue;
    const found = /^\s*registry\s*=\s*"?([^\s"]+)"?\s*$/m.exec(readFileSync(file, 'utf8'))?.[1];
    if (found !== undefined && !found.includes('${')) return found;
  }
  return undefined;
}

/**
 * Where builds must come to whatever the security groups say: the proxies and the registry of packages, which may be in a network of
 * the host's own.
 */
export function buildHosts(environment: NodeJS.ProcessEnv = process.env): { host: string; port: number }[] {
  const { http_proxy: http, https_proxy: https, all_proxy: all } = hostEnvironment(environment);
  const found = [
    http,
    https,
    all,
    npmRegistry(environment) ?? NPM_REGISTRY,
    ...registryAddresses(languageRegistries(environment)),
  ].flatMap((text) => {
    const url = text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
    if (!url?.hostname) return [];
    return [{ host: url.hostname, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) }];
  });
  return [...new Map(found.map((target) => [`${target.host} ${target.port}`, target])).values()];
}

function hasPassword(address: string): boolean {
  return /[a-z0-9+.-]+:\/\/[^/\s,|]*@/i.test(address);
}
