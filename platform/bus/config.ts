/** The configuration of an instance's nats-server (docs.nats.io, "Configuration"): loopback only, a user for each role. */
import { join } from 'node:path';
import { BUS_ROLES, type BusPasswords } from './bus.ts';

export interface BusFiles {
  /** Named on the server's command line, by which it is found. */
  config: string;
  /** The server's own log: it begins a new one at a megabyte, and keeps the one before. */
  log: string;
  /** What it printed before it could write there. */
  output: string;
}

export function busFiles(dataDirectory: string): BusFiles {
  return {
    config: join(dataDirectory, 'nats.conf'),
    log: join(dataDirectory, 'nats.log'),
    output: join(dataDirectory, 'nats.out'),
  };
}

export function busConfig(options: {
  instance: string;
  port: number;
  files: BusFiles;
  passwords: BusPasswords;
}): string {
  const users = Object.entries(BUS_ROLES).map(([user, permissions]) => ({
    user,
    password: options.passwords[user as keyof BusPasswords],
    permissions,
  }));
  // Its language takes JSON for what it quotes.
  const lines: [string, unknown][] = [
    ['server_name', `sampan-${options.instance}`],
    ['host', '127.0.0.1'],
    ['port', options.port],
    ['log_file', options.files.log],
    ['logfile_size_limit', 1024 * 1024],
    ['max_connections', 256],
    ['max_payload', 1024 * 1024],
    // A reader that is slow is cut off, rather than holding messages for it.
    ['max_pending', 8 * 1024 * 1024],
    ['write_deadline', '2s'],
    ['authorization', { timeout: 2, users }],
  ];
  return lines.map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`).join('');
}
