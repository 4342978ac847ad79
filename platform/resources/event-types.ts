/** What happened and what was used: those of the platform's resources (`types.ts`) that are a record, written once and never changed. */
import { custom, type Resource } from './types.ts';

export type AuditEvent = Resource<{
  /** `audit.app.create`, `app.crash`, … */
  type: string;
  actor: { guid: string; type: string; name: string };
  target: { guid: string; type: string; name: string };
  space?: string;
  organization?: string;
  data: Record<string, unknown>;
  createdAt: string;
}>;

/** What of an app was used from then on. Names are in the order of the events. */
export type AppUsageEvent = Resource<{
  state: 'STARTED' | 'STOPPED' | 'TASK_STARTED' | 'TASK_STOPPED' | 'STAGING_STARTED' | 'STAGING_STOPPED';
  previousState: string | null;
  /** Guid of the process, task or build. */
  subject: string;
  app: { guid: string; name: string };
  process?: { guid: string; type: string };
  task?: { guid: string; name: string };
  space: { guid: string; name: string };
  organization: string;
  buildpack?: string;
  instances: number;
  previousInstances: number | null;
  memoryMb: number;
  previousMemoryMb: number | null;
}>;

export type ServiceUsageEvent = Resource<{
  state: 'CREATED' | 'UPDATED' | 'DELETED';
  space: { guid: string; name: string };
  organization: string;
  instance: { guid: string; name: string; type: string };
  /** Of brokers' services. */
  plan?: { guid: string; name: string };
  offering?: { guid: string; name: string };
  broker?: { guid: string; name: string };
}>;

export const auditEvents = custom<AuditEvent>('AuditEvent', 'auditevents', true);
export const appUsageEvents = custom<AppUsageEvent>('AppUsageEvent', 'appusageevents', true);
export const serviceUsageEvents = custom<ServiceUsageEvent>('ServiceUsageEvent', 'serviceusageevents', true);
