/**
 * What a client of the Docker API asked for a container and the engine has no word for. It lies in one label of the
 * container, written with it; no client sees that label or may set it.
 */
import type { Container, Healthcheck } from '../engine.ts';

const LABEL_PREFIX = 'docker.sampan.dev/';
export const SETTINGS_LABEL = `${LABEL_PREFIX}settings`;
/** On the sandbox of such a container. */
export const SANDBOX_LABEL = `${LABEL_PREFIX}container`;

export type RestartName = 'no' | 'always' | 'on-failure' | 'unless-stopped';

export interface PortBinding {
  /** Of the container. */
  port: number;
  protocol: 'tcp' | 'udp';
  hostIp?: string;
  /** 0: a free one. */
  hostPort: number;
}

export interface LogSettings {
  type: 'json-file' | 'local' | 'none';
  options: Record<string, string>;
}

export interface Settings {
  hostname: string;
  autoRemove: boolean;
  restart: { name: RestartName; maximum: number };
  attach: { stdin: boolean; stdout: boolean; stderr: boolean };
  stdinOnce: boolean;
  stopSeconds?: number;
  exposed: string[];
  bindings: PortBinding[];
  publishAll: boolean;
  entrypoint?: string[];
  cmd?: string[];
  binds: string[];
  volumes: { name: string; target: string; readOnly: boolean; anonymous: boolean }[];
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  extraHosts: string[];
  /** Absent: `bridge`. */
  networkMode?: string;
  links?: string[];
  tmpfs: Record<string, string>;
  securityOpt: string[];
  /** Absent in what older versions wrote. */
  log?: LogSettings;
  /** What holds, the image's part too. */
  health?: Healthcheck;
  volumesFrom?: string[];
}

/** Undefined for a container that was not made through the Docker API: a pod's. */
export function settingsOf(container: Container): Settings | undefined {
  const text = container.labels[SETTINGS_LABEL];
  return text === undefined ? undefined : (JSON.parse(text) as Settings);
}

export function isReserved(label: string): boolean {
  return label.startsWith(LABEL_PREFIX);
}

export function visibleLabels(container: Container): Record<string, string> {
  return Object.fromEntries(Object.entries(container.labels).filter(([name]) => !isReserved(name)));
}
