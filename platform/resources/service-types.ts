/** Brokers, what they offer, and what they made: those of the platform's resources (`types.ts`) that are about services. */
import { custom, type Resource, type UserMetadata } from './types.ts';

/** What somebody asked that a broker has a part in. It is in the object that it is about; what comes of it is in the status there. */
export interface BrokerRequest {
  /** The job is named after it; parameters that came with it are the Secret `parameters-<id>` of the system namespace. */
  id: string;
  type: 'create' | 'update' | 'delete';
  /** Who: brokers are told. */
  by: { guid: string; name: string };
  at: string;
  parameters?: boolean;
}

/** How far the platform is with a request. */
export interface BrokerOperation {
  /** Id of the request. */
  request: string;
  type: BrokerRequest['type'];
  state: 'in progress' | 'succeeded' | 'failed';
  description: string;
  /** `asked`: what the broker says is not known yet; `accepted`: it is at it, and is asked now and then. */
  phase: 'asked' | 'accepted' | 'ended';
  updatedAt: string;
  /** What the broker calls it. */
  brokerOperation?: string;
  /** When it is given up. */
  until: string;
  pollAt?: string;
  pollSeconds?: number;
  /** As the job shows it. */
  error?: { title: string; detail: string };
  warnings?: string[];
}

/** Login and password are the Secret `broker-<guid>` of the system namespace; those that an update brings are `broker-<request id>` until it is done. */
export type ServiceBroker = Resource<
  {
    displayName: string;
    url: string;
    /** Its services are for this space alone. */
    space?: string;
    /** The platform brings it. */
    own?: boolean;
    userMetadata?: UserMetadata;
    request?: BrokerRequest & {
      displayName?: string;
      url?: string;
      login?: boolean;
      userMetadata?: UserMetadata;
    };
  },
  { operation?: BrokerOperation }
>;

/** As the broker's catalog has it. The guid is made of the broker's and of `brokerId`. */
export type ServiceOffering = Resource<{
  broker: string;
  brokerId: string;
  displayName: string;
  description: string;
  /** It is in the catalog. */
  available: boolean;
  bindable: boolean;
  planUpdateable: boolean;
  instancesRetrievable: boolean;
  bindingsRetrievable: boolean;
  allowContextUpdates: boolean;
  tags: string[];
  requires: string[];
  metadata: Record<string, unknown>;
  userMetadata?: UserMetadata;
}>;

export interface MaintenanceInfo {
  version: string;
  description?: string;
}

export type ServicePlan = Resource<{
  offering: string;
  broker: string;
  brokerId: string;
  displayName: string;
  description: string;
  available: boolean;
  free: boolean;
  /** Absent: as the offering. */
  bindable?: boolean;
  planUpdateable?: boolean;
  maximumPollingSeconds?: number;
  maintenanceInfo?: MaintenanceInfo;
  metadata: Record<string, unknown>;
  schemas: { createInstance?: unknown; updateInstance?: unknown; createBinding?: unknown };
  /** Who sees it and may have instances of it; of a space's broker, the space. */
  visibility: 'public' | 'admin' | 'organization';
  organizations: string[];
  userMetadata?: UserMetadata;
}>;

/** What a broker may have made and nobody has: it is deleted there until it is gone. The name is `orphan-<request id>`, in the system namespace. */
export type ServiceOrphan = Resource<
  { broker: string; serviceId: string; planId: string; instance: string; binding?: string; reason: string },
  { attempts: number; error?: string; accepted?: boolean; brokerOperation?: string }
>;

/**
 * A service that a broker provides, or that somebody runs elsewhere and describes: of the latter the credentials are the Secret
 * `env-service-<guid>`, as JSON in the key `credentials`.
 */
export type ServiceInstance = Resource<
  {
    displayName: string;
    tags: string[];
    syslogDrainUrl?: string;
    routeServiceUrl?: string;
    /** A broker's; absent: one that runs elsewhere. What came of updates is in the status. */
    managed?: { plan: string; maintenanceVersion?: string };
    /** Spaces besides its own whose apps may be bound to it. */
    sharedWith?: string[];
    userMetadata?: UserMetadata;
    request?: BrokerRequest & {
      plan?: string;
      maintenanceVersion?: string;
      displayName?: string;
      tags?: string[];
      userMetadata?: UserMetadata;
    };
  },
  {
    operation?: BrokerOperation;
    /** Where an update has changed them. */
    plan?: string;
    maintenanceVersion?: string;
    dashboardUrl?: string;
    brokerMetadata?: Record<string, unknown>;
  }
>;

/**
 * An app's use of a service instance, which counts from the app's next start on, or a key: credentials for whoever. What a broker gave
 * is the Secret `env-service-<guid>`, in the form of the instance's. Or a route's use of it: its requests go through the service at once.
 */
export type ServiceBinding = Resource<
  {
    /** Absent, as `route` is: a key. */
    app?: string;
    /** Guid. A route has one binding at most. */
    route?: string;
    instance: string;
    displayName?: string;
    userMetadata?: UserMetadata;
    request?: BrokerRequest;
  },
  {
    operation?: BrokerOperation;
    syslogDrainUrl?: string;
    /** Of a route's, what the broker said: https. */
    routeServiceUrl?: string;
    volumeMounts?: Record<string, unknown>[];
  }
>;

/** Where a route's requests go first: of a broker's, what it said of this binding; else what the user says of the instance. */
export function routeServiceUrlOf(
  { spec, status }: Pick<ServiceBinding, 'spec' | 'status'>,
  instance: ServiceInstance | undefined,
): string | undefined {
  return (spec.request ? status?.routeServiceUrl : instance?.spec.routeServiceUrl) || undefined;
}

/** For whom a binding is. */
export function bindingKind({ spec }: Pick<ServiceBinding, 'spec'>): 'app' | 'key' | 'route' {
  if (spec.route !== undefined) return 'route';
  return spec.app === undefined ? 'key' : 'app';
}

export const serviceBrokers = custom<ServiceBroker>('ServiceBroker', 'servicebrokers', false);
export const serviceOfferings = custom<ServiceOffering>('ServiceOffering', 'serviceofferings', false);
export const servicePlans = custom<ServicePlan>('ServicePlan', 'serviceplans', false);
export const serviceOrphans = custom<ServiceOrphan>('ServiceOrphan', 'serviceorphans', true);
export const serviceInstances = custom<ServiceInstance>('ServiceInstance', 'serviceinstances', true);
export const serviceBindings = custom<ServiceBinding>('ServiceBinding', 'servicebindings', true);
