import type { Risk } from './engine.ts';
import type { NetworkOptions } from './network/network.ts';

/** What an engine is opened with. Everything that it makes lies below the two directories or carries `instance`. */
export interface EngineOptions {
  instance: string;
  /** Holds `engine/…`: content, sandboxes, containers, logs. Survives a reboot. */
  dataDirectory: string;
  /** On tmpfs: bound namespaces, sockets, bundles. Gone after a reboot, and the engine then finds its containers exited. */
  runDirectory: string;
  network: Omit<NetworkOptions, 'instance'>;
  /** Host ids handed to sandboxes: `first` is a multiple of 65536. */
  idRange: { first: number; length: number };
  /** OCI runtime: a name on the PATH or a path. Default `runc`. */
  runtime?: string;
  /** How many sandboxes are kept ready. Default 4; 0 for none. */
  sandboxPool?: number;
  /**
   * Credentials and CA by registry host (`host:port`), for pulls without credentials of their own; and the address where it answers,
   * where that is another than its name: images of a cluster are named by every host's own loopback, and lie on one of them.
   */
  registries?: Record<string, { username?: string; password?: string; ca?: string; address?: string }>;
  /** Registries that the own one caches: host (`host[:port]`) by what the names of their repositories begin with here. */
  mirrors?: Record<string, string>;
  /**
   * Names a risk: containers made through the Docker API may mount what lies below these directories of the host. Default none.
   */
  allowedBinds?: string[];
  /** Names risks that containers may be; see `Risk`. Default none. */
  allowedRisks?: Risk[];
  /** Names a risk: containers may be given these devices of the host, and those in these directories. Default none. */
  allowedDevices?: string[];
  /** When images that nobody uses are removed; see `images/watermarks.ts`. */
  diskWatermarks?: DiskWatermarks;
  /** Called for what an operator should read. Default: a JSON line on standard error. */
  log?: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface DiskWatermarks {
  /** Of the file system of the data directory. Above it images go; default 85. */
  highPercent?: number;
  /** Until it is reached; default 80. */
  lowPercent?: number;
  /** What was used or written within it stays; default an hour. */
  graceMilliseconds?: number;
}
