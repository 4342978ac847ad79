/** Who is logged in where: `~/.sampan/config.json` (0600), one entry for each API. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CliError } from './errors.ts';

export interface SessionEntry {
  username?: string;
  accessToken?: string;
  refreshToken?: string;
  organization?: string;
  space?: string;
  /** PEM, where `login --ca` said who signed the platform's certificate. */
  ca?: string;
}

interface Config {
  /** The API that commands without a local instance speak to. */
  current?: string;
  sessions: Record<string, SessionEntry>;
}

function configFile(): string {
  return join(process.env.SAMPAN_HOME ?? join(homedir(), '.sampan'), 'config.json');
}

export function readConfig(): Config {
  try {
    return JSON.parse(readFileSync(configFile(), 'utf8')) as Config;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { sessions: {} };
    throw new CliError(`Cannot read ${configFile()}: ${(error as Error).message}.`, 'Remove it and log in again.', {
      cause: error,
    });
  }
}

export function readSession(api: string): SessionEntry {
  return readConfig().sessions[api] ?? {};
}

export function writeSession(api: string, entry: SessionEntry, options: { current?: boolean } = {}): void {
  const config = readConfig();
  config.sessions[api] = entry;
  if (options.current) config.current = api;
  const path = configFile();
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.${process.pid}`, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.${process.pid}`, path);
}
