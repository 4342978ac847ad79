/**
 * The workload controllers' contract: from what Cloud Foundry's objects say to what Kubernetes runs.
 *
 *   app        one ReplicaSet for each process and generation of an app, in its space's namespace. The generation that
 *              `App.spec` names runs; during a rolling deployment the deployment's generation runs beside it. A ReplicaSet's
 *              template is made once and never changed: everything that would change it is a new generation.
 *   service    a headless Service `proc-<process guid>` selects the pods of a process, of all generations: its EndpointSlices are
 *              what the router follows.
 *   index      each new pod waits with a scheduling gate until it has the lowest index that is free among the pods of its
 *              ReplicaSet; the index is an annotation (read by the pod through the downward API) and the pod's deletion cost, so
 *              that scaling down takes the highest indexes.
 *   deployment (within `app`) moves instances from old generations to the new one: never fewer ready instances than wanted, never
 *              more than `maxInFlight` above. When all are ready the App is turned in one write. When the new generation makes no
 *              progress within its health timeout, or crashes again and again, it is taken away and the deployment is
 *              CANCELED with the reason; the old generation never stopped serving.
 *   crash      every end of a container becomes one audit event (`app.crash`, `audit.app.process.crash`) and a log line, told by pod
 *              and restart count, so that none is told twice.
 *   task       one pod for each task, made once; what it came to is written down before the pod goes.
 *   prune      keeps the newest 100 revisions, 200 tasks that ended, 5 droplets and 5 packages of an app, and what runs.
 *
 * All are level-triggered and may be killed anywhere. A destination whose app is gone is removed from its route.
 */
import type { Logs } from '../logs/logs.ts';
import type { Informers } from '../resources/informers.ts';

export interface WorkloadContext {
  informers: Informers;
  logs: Logs;
  /** `https://api.DOMAIN`, for VCAP_APPLICATION. */
  apiUrl: string;
  defaults: { healthCheckTimeout: number };
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
  now: () => number;
  signal: AbortSignal;
}

/** Seconds that an app has between SIGTERM and SIGKILL. */
export const DRAIN_SECONDS = 10;
/** The router sees a leaving endpoint within milliseconds; SIGTERM waits this long, so that no request meets a closed port. */
export const PRE_STOP_SECONDS = 1;
export const DEFAULT_PORT = 8080;
/** The build user of droplets, and who runs images of root's. */
export const APP_USER = 1000;
