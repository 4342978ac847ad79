/**
 * Cloud Foundry's own router, where somebody has built it: `gorouter` on the PATH, or the program that GOROUTER names. It learns its routes
 * over a nats-server of its own, keeps connections to apps as Cloud Foundry deploys it, and writes its access log to a file, which is
 * less than to send it somewhere. It is run only while it is measured.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { findProgram } from '#lib/find-program.ts';
import { freePort } from '#lib/ports.ts';
import { installPeer } from './peers.ts';

export interface RouterPeer {
  port: number;
  stop(): Promise<void>;
}

export interface PeerRoutes {
  /** App and its hosts. */
  apps: readonly { id: string; hosts: readonly string[] }[];
  /** Of every app, on the loopback. */
  port: number;
  /** Of a host whose first 200 shows that it serves. */
  status: (port: number, host: string) => Promise<number>;
}

const READY_WITHIN = 60_000;

/** Undefined where there is none. */
export async function startGorouter(directory: string, routes: PeerRoutes): Promise<RouterPeer | undefined> {
  const built = process.env['GOROUTER'];
  const program = built === undefined ? findProgram('gorouter') : findProgram(built);
  if (program === undefined) return undefined;
  installPeer('nats-server', 'nats-server');
  const [port, nats] = [await freePort(), await freePort()];
  const log = join(directory, 'gorouter.log');
  const said = openSync(log, 'a');
  const children: ChildProcess[] = [];
  const start = (name: string, words: string[]): void => {
    // In a session of its own, as the router's is: the kernel shares the processor out by session first.
    children.push(spawn(name, words, { stdio: ['ignore', said, said], detached: true }));
  };
  const stop = async (): Promise<void> => {
    for (const child of children.splice(0)) {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
    }
  };
  try {
    start('nats-server', ['-a', '127.0.0.1', '-p', String(nats)]);
    const file = join(directory, 'gorouter.json');
    await writeFile(file, JSON.stringify(await settings(directory, { port, nats })));
    start(program, ['-c', file]);
    const until = performance.now() + READY_WITHIN;
    const bus = await connected(nats, until);
    register(bus, routes);
    const host = routes.apps.at(-1)?.hosts.at(-1) ?? '';
    while ((await routes.status(port, host).catch(() => 0)) !== 200) {
      if (performance.now() > until) throw new Error(readFileSync(log, 'utf8').slice(-2000));
      register(bus, routes);
      await delay(500);
    }
    await bus.close();
    return { port, stop };
  } catch (error) {
    await stop();
    throw new Error('gorouter did not start', { cause: error });
  } finally {
    closeSync(said);
  }
}

/** Its YAML takes JSON too. */
async function settings(directory: string, { port, nats }: { port: number; nats: number }): Promise<object> {
  return {
    port,
    status: { port: await freePort(), user: 'bench', pass: 'bench', routes: { port: await freePort() } },
    nats: { hosts: [{ hostname: '127.0.0.1', port: nats }] },
    logging: { level: 'error' },
    access_log: { file: join(directory, 'gorouter-access.log') },
    route_services_internal_server_port: await freePort(),
    start_response_delay_interval: '1s',
    // Routes are registered once, and stay.
    droplet_stale_threshold: '1h',
    disable_keep_alives: false,
    max_idle_conns: 100,
    max_idle_conns_per_host: 100,
  };
}

async function connected(port: number, until: number): Promise<NatsConnection> {
  for (;;) {
    try {
      return await connect({ servers: `127.0.0.1:${port}` });
    } catch (error) {
      if (performance.now() > until) throw error;
      await delay(50);
    }
  }
}

function register(bus: NatsConnection, { apps, port }: PeerRoutes): void {
  for (const { id, hosts } of apps)
    bus.publish(
      'router.register',
      JSON.stringify({ host: '127.0.0.1', port, uris: hosts, app: id, private_instance_id: id }),
    );
}
