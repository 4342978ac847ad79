/**
 * The message bus: what is worth most while it is fresh, carried by a real nats-server (`server.ts`) that an instance runs for
 * itself. Nothing on it may be missed by anybody for good: a message is lost when nobody listens, when the server is away, and
 * when a reader is too slow. So what travels is measurements, of which the next comes anyway, and hints to look again.
 * Whoever gets a hint reads the truth where it is kept; whoever gets none looks by itself after a while.
 *
 * Subjects, and who may say and hear them (the server refuses others):
 *
 *   metrics.<node>   agent → platform    `NodeSample`: what the containers of the node's pods use, every 10 s, and when asked
 *   wake.metrics     platform → agent    empty: measure now
 *
 * Messages are JSON. The server listens on the loopback only, and asks for the password of a role. A role reconnects by itself,
 * for ever; what it says meanwhile is lost.
 */
export interface Bus {
  /** Never waits. False when it was lost at once: there is no connection. */
  publish(subject: string, message: unknown): boolean;
  /** Messages of subjects that match (`metrics.*`), from now on and over reconnections. What is no JSON is dropped. */
  subscribe(subject: string, listener: (message: unknown) => void): () => void;
  /** Called at once when there is a connection, and at each that comes after. */
  onConnected(listener: () => void): () => void;
  readonly connected: boolean;
  close(): Promise<void>;
}

/** What may connect. Each has a password of its own, and only the subjects that it needs. */
export const BUS_ROLES = {
  agent: { publish: ['metrics.*'], subscribe: ['wake.*'] },
  platform: { publish: ['wake.*'], subscribe: ['metrics.*'] },
} as const;

export type BusRole = keyof typeof BUS_ROLES;
export type BusPasswords = Record<BusRole, string>;

export const METRICS_EVERY_SECONDS = 10;

export const metricsSubject = (node: string): string => `metrics.${node.replaceAll(/[^A-Za-z0-9_-]/g, '_')}`;
export const ALL_METRICS = 'metrics.*';
export const WAKE_METRICS = 'wake.metrics';

export interface NodeSample {
  node: string;
  /** Milliseconds since the epoch. */
  at: number;
  containers: ContainerSample[];
  /** The agent's own process. */
  agent?: ProcessUse;
}

export interface ProcessUse {
  cpuSeconds: number;
  residentBytes: number;
  /** Milliseconds since the epoch. */
  startedAt: number;
}

/** Of one running container. Numbers that are not known are left out. */
export interface ContainerSample {
  namespace: string;
  pod: string;
  container: string;
  /** Share of one processor since the reading before: 1 is a whole one. */
  cpu?: number;
  /** All that it used so far. */
  cpuSeconds: number;
  memoryBytes: number;
  memoryLimitBytes?: number;
  diskBytes?: number;
  diskLimitBytes?: number;
  /** What it wrote to its log, and what of it was left out for its limits, since its start. */
  log?: { bytes: number; lines: number; droppedLines: number };
}

export class BusError extends Error {
  readonly code: 'not-started' | 'port-taken' | 'missing';
  constructor(code: BusError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BusError';
    this.code = code;
  }
}
