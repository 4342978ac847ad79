import type { Instance } from '../instance.ts';

/** What a role gives back: how to end it. */
export interface RunningRole {
  close(): Promise<void>;
}

export interface RoleContext {
  instance: Instance;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}
