/** The parts of Cloud Foundry's v3 resources that the commands read. */
export interface Resource {
  guid: string;
  created_at: string;
  updated_at?: string;
}

export interface Page<T> {
  pagination: { total_results: number; next: { href: string } | null };
  resources: T[];
}

export interface Root {
  links: {
    uaa: { href: string };
    login?: { href: string };
    log_cache?: { href: string };
    /** `HOST:PORT`, and the SHA-256 of its key in base64. */
    app_ssh?: { href: string; meta: { host_key_fingerprint: string } } | null;
    cloud_controller_v3: { href: string };
  };
}

export interface Named extends Resource {
  name: string;
}

export interface Space extends Named {
  relationships: { organization: { data: { guid: string } } };
}

export interface Domain extends Named {
  internal: boolean;
  relationships: { organization: { data: { guid: string } | null } };
}

export interface Certificate extends Resource {
  source: string;
  hosts: string[];
  state: string;
  not_after: string | null;
  error: { type: string; detail: string } | null;
}

export interface App extends Named {
  state: 'STARTED' | 'STOPPED';
  lifecycle: { type: string; data: { buildpacks?: string[]; stack?: string } };
}

export interface Process extends Resource {
  type: string;
  instances: number;
  memory_in_mb: number;
  disk_in_mb: number;
  command: string | null;
  health_check: { type: string; data: { timeout: number | null; endpoint?: string | null } };
}

export interface InstanceStats {
  type: string;
  index: number;
  state: string;
  details?: string | null;
  uptime?: number;
  since?: string;
  host?: string;
  instance_internal_ip?: string;
  node?: string;
  usage?: { time?: string; cpu?: number; mem?: number; disk?: number };
  mem_quota?: number;
  disk_quota?: number;
}

export interface Package extends Resource {
  type: string;
  state: string;
  data: { error?: string | null };
}

export interface Build extends Resource {
  state: 'STAGING' | 'STAGED' | 'FAILED';
  error: string | null;
  droplet: { guid: string } | null;
}

export interface Droplet extends Resource {
  state: string;
  image: string | null;
  stack: string | null;
  buildpacks: { name: string; version?: string | null; detect_output?: string | null }[] | null;
  process_types: Record<string, string>;
}

export interface Route extends Resource {
  host: string;
  path: string;
  port: number | null;
  protocol: string;
  url: string;
  destinations: { guid: string; app: { guid: string; process: { type: string } }; port: number | null }[];
  relationships: { domain: { data: { guid: string } }; space: { data: { guid: string } } };
}

export interface Deployment extends Resource {
  status: {
    value: string;
    reason: string;
    details?: { error?: string; last_successful_healthcheck?: string };
    canary?: { steps: { current: number; total: number } };
  };
}

export interface Revision extends Resource {
  version: number;
  description: string;
  deployable: boolean;
}

export interface Task extends Named {
  sequence_id: number;
  state: string;
  command?: string;
  result: { failure_reason: string | null };
}

export interface AuditEvent extends Resource {
  type: string;
  actor: { name: string };
  target: { name: string; type: string };
  data: Record<string, unknown>;
}
