/** Every metric that there is: see `exporter.ts`. */
import type { MetricDescription } from './exporter.ts';

const app = ['organization', 'space', 'app', 'app_id'] as const;
const instance = [...app, 'process_type', 'instance'] as const;
const route = [...app, 'host', 'path'] as const;

export const CATALOGUE = {
  requests: {
    name: 'sampan_app_requests_total',
    type: 'counter',
    help: 'Requests that the router finished, by class of status (1xx to 5xx; 0xx: no answer).',
    labels: [...app, 'status_class'],
  },
  routeRequests: {
    name: 'sampan_route_requests_total',
    type: 'counter',
    help: 'The same by route.',
    labels: [...route, 'status_class'],
  },
  routeDuration: {
    name: 'sampan_route_request_duration_seconds',
    type: 'histogram',
    help: 'From the request to the last byte of the answer, by route. Connections that were upgraded (WebSocket) are left out.',
    labels: route,
  },
  receivedBytes: {
    name: 'sampan_app_received_bytes_total',
    type: 'counter',
    help: 'Bytes of requests, with their headers.',
    labels: app,
  },
  sentBytes: {
    name: 'sampan_app_sent_bytes_total',
    type: 'counter',
    help: 'Bytes of answers, with their headers.',
    labels: app,
  },
  wanted: {
    name: 'sampan_app_instances_desired',
    type: 'gauge',
    help: 'Instances that the process of a started app should have; 0 for a stopped one.',
    labels: [...app, 'process_type'],
  },
  running: {
    name: 'sampan_app_instances_running',
    type: 'gauge',
    help: 'Instances that are ready.',
    labels: [...app, 'process_type'],
  },
  restarts: {
    name: 'sampan_app_instance_restarts_total',
    type: 'counter',
    help: "Times that the instance's container was started again in its pod.",
    labels: instance,
  },
  cpu: {
    name: 'sampan_app_instance_cpu_seconds_total',
    type: 'counter',
    help: 'Processor time that the instance used since its container started.',
    labels: instance,
  },
  memory: {
    name: 'sampan_app_instance_memory_bytes',
    type: 'gauge',
    help: 'Memory of the instance, less what the kernel can drop.',
    labels: instance,
  },
  memoryLimit: {
    name: 'sampan_app_instance_memory_limit_bytes',
    type: 'gauge',
    help: 'Memory that the instance may have.',
    labels: instance,
  },
  disk: {
    name: 'sampan_app_instance_disk_bytes',
    type: 'gauge',
    help: 'What the instance wrote to its own file system.',
    labels: instance,
  },
  diskLimit: {
    name: 'sampan_app_instance_disk_limit_bytes',
    type: 'gauge',
    help: 'What it may write there.',
    labels: instance,
  },
  logBytes: {
    name: 'sampan_app_instance_log_bytes_total',
    type: 'counter',
    help: "Bytes of the instance's log that were collected.",
    labels: instance,
  },
  logDropped: {
    name: 'sampan_app_instance_log_lines_dropped_total',
    type: 'counter',
    help: 'Lines of the log that were left out: above a limit, or rotated away before they were read.',
    labels: instance,
  },
  apps: {
    name: 'sampan_apps',
    type: 'gauge',
    help: 'Apps by state.',
    labels: ['state'],
  },
  routerRoutes: {
    name: 'sampan_router_routes',
    type: 'gauge',
    help: 'Routes that the router serves.',
    labels: [],
  },
  routerEndpoints: {
    name: 'sampan_router_endpoints',
    type: 'gauge',
    help: 'Instances that it sends requests to.',
    labels: [],
  },
  routerReloads: {
    name: 'sampan_router_reloads_total',
    type: 'counter',
    help: 'Times that HAProxy was reloaded, to make room for more routes.',
    labels: [],
  },
  routerLost: {
    name: 'sampan_router_access_records_lost_total',
    type: 'counter',
    help: 'Requests that were served, but are missing in logs and metrics.',
    labels: [],
  },
  certificateExpiry: {
    name: 'sampan_router_certificate_expiry_timestamp_seconds',
    type: 'gauge',
    help: 'When the certificate that the router has for these hosts is over.',
    labels: ['hosts', 'source'],
  },
  certificateFailures: {
    name: 'sampan_router_certificate_failures',
    type: 'gauge',
    help: 'Attempts in a row to get a certificate that have failed; 0: the last one did not.',
    labels: ['hosts', 'source'],
  },
  routerUp: {
    name: 'sampan_router_up',
    type: 'gauge',
    help: '1 while HAProxy runs.',
    labels: [],
  },
  busUp: {
    name: 'sampan_bus_up',
    type: 'gauge',
    help: '1 while the platform is connected to the message bus.',
    labels: [],
  },
  nodeSeen: {
    name: 'sampan_node_last_sample_timestamp_seconds',
    type: 'gauge',
    help: 'When the node last told what its containers use.',
    labels: ['node'],
  },
  roleCpu: {
    name: 'sampan_role_cpu_seconds_total',
    type: 'counter',
    help: "Processor time of one of the platform's own processes.",
    labels: ['role', 'node'],
  },
  roleMemory: {
    name: 'sampan_role_resident_memory_bytes',
    type: 'gauge',
    help: 'Memory of that process.',
    labels: ['role', 'node'],
  },
  roleStart: {
    name: 'sampan_role_start_time_seconds',
    type: 'gauge',
    help: 'When it was started: a change is a restart.',
    labels: ['role', 'node'],
  },
} as const satisfies Record<string, MetricDescription>;
