/** `/healthz`, `/livez`, `/readyz`: as a whole, each check by its name, `?verbose`, `?exclude=`. */
import type { Core } from './core.ts';
import { noSuchPath } from './errors.ts';
import { type Exchange, send } from './exchange.ts';
import { isTrue } from './route.ts';

interface Check {
  name: string;
  /** Of readiness only. */
  ready?: boolean;
  holds: (core: Core) => boolean;
}

const CHECKS: readonly Check[] = [
  { name: 'ping', holds: () => true },
  { name: 'log', holds: () => true },
  // Named after what it is upstream; here it is the store, whatever its driver.
  { name: 'etcd', holds: (core) => core.cache.alive },
  { name: 'informer-sync', ready: true, holds: (core) => core.cache.alive },
  { name: 'shutdown', ready: true, holds: (core) => !core.closing },
];

export function isHealthPath(path: string): boolean {
  return /^\/(healthz|livez|readyz)(\/|$)/.test(path);
}

export function health(core: Core, exchange: Exchange): void {
  const [, endpoint = '', only, ...more] = exchange.path.split('/');
  const checks = CHECKS.filter(({ ready }) => endpoint === 'readyz' || ready !== true);
  const one = checks.find(({ name }) => name === only);
  if (more.length > 0 || (only !== undefined && only !== '' && one === undefined)) throw noSuchPath();
  const text = (status: number, body: string) => send(exchange, status, Buffer.from(body), 'text/plain; charset=utf-8');
  if (one !== undefined)
    return one.holds(core) ? text(200, 'ok') : text(500, `internal server error: ${one.name} failed`);
  const excluded = exchange.query.getAll('exclude');
  const lines: string[] = [];
  let failed = false;
  for (const check of checks) {
    if (excluded.includes(check.name)) lines.push(`[+]${check.name} excluded: ok`);
    else if (check.holds(core)) lines.push(`[+]${check.name} ok`);
    else {
      failed = true;
      lines.push(`[-]${check.name} failed: reason withheld`);
    }
  }
  const unknown = excluded.filter((name) => !checks.some((check) => check.name === name));
  if (unknown.length > 0)
    lines.push(
      `warn: some health checks cannot be excluded: no matches for ${unknown.map((name) => JSON.stringify(name)).join(',')}`,
    );
  if (failed) return text(500, `${lines.join('\n')}\n${endpoint} check failed\n`);
  if (!isTrue(exchange.query.get('verbose') ?? 'false')) return text(200, 'ok');
  text(200, `${lines.join('\n')}\n${endpoint} check passed\n`);
}
