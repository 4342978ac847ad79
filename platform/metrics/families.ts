/** What an exporter shows, put together when it is asked for. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { Bus, NodeSample } from '../bus/bus.ts';
import type { Informers } from '../resources/informers.ts';
import { appStatus } from '../resources/instances.ts';
import { pods } from '../resources/kubernetes.ts';
import { annotations, apps, domainCertificates, labels, processes } from '../resources/types.ts';
import type { Router } from '../router/model.ts';
import { namesOf } from './app-names.ts';
import { CATALOGUE } from './catalogue.ts';
import type { Histogram, MetricFamily } from './exporter.ts';
import type { Used } from './open.ts';
import { histogramOf, type Requests } from './requests.ts';

export interface FamilySource {
  informers: Informers;
  bus: Bus;
  router: Pick<Router, 'status'>;
  used: ReadonlyMap<string, Used>;
  nodes: ReadonlyMap<string, NodeSample>;
  requests: Requests;
  now: () => number;
}

type Key = keyof typeof CATALOGUE;
type Add = (key: Key, labelValues: string[], value: number | Histogram | undefined) => void;

export function familiesOf(source: FamilySource): MetricFamily[] {
  const families = new Map<Key, MetricFamily>();
  for (const [key, description] of Object.entries(CATALOGUE)) {
    families.set(key as Key, { ...description, samples: [] });
  }
  const add: Add = (key, labelValues, value) => {
    if (value !== undefined) families.get(key)?.samples.push({ labels: labelValues, value });
  };
  addRequests(source, add);
  addProcesses(source, add);
  addInstances(source, add);
  addPlatform(source, add);
  return [...families.values()];
}

/** The labels of an app; undefined when it is gone. */
function appLabels({ informers }: FamilySource, app: string): string[] | undefined {
  const names = namesOf(informers, app);
  return names && [names.organizationName, names.spaceName, names.appName, app];
}

function addRequests(source: FamilySource, add: Add): void {
  for (const [app, { statuses, receivedBytes, sentBytes }] of source.requests.apps) {
    const of = appLabels(source, app);
    if (of === undefined) continue;
    for (const [status, count] of statuses) add('requests', [...of, status], count);
    add('receivedBytes', of, receivedBytes);
    add('sentBytes', of, sentBytes);
  }
  for (const route of source.requests.routes.values()) {
    const of = appLabels(source, route.app);
    if (of === undefined) continue;
    const labelsOfRoute = [...of, route.host, route.path];
    for (const [status, count] of route.statuses) add('routeRequests', [...labelsOfRoute, status], count);
    add('routeDuration', labelsOfRoute, histogramOf(route));
  }
}

function addProcesses(source: FamilySource, add: Add): void {
  const states = new Map([
    ['STARTED', 0],
    ['STOPPED', 0],
  ]);
  for (const app of source.informers.of(apps).list()) {
    states.set(app.spec.state, (states.get(app.spec.state) ?? 0) + 1);
  }
  for (const [state, count] of states) add('apps', [state.toLowerCase()], count);
  const started = new Set(
    source.informers
      .of(apps)
      .list()
      .filter(({ spec }) => spec.state === 'STARTED')
      .map(({ metadata }) => metadata.name),
  );
  const ready = new Map<string, number>();
  for (const pod of source.informers.of(pods).list()) {
    const process = pod.metadata.labels?.[labels.process] ?? '';
    if (isReady(pod)) ready.set(process, (ready.get(process) ?? 0) + 1);
  }
  for (const process of source.informers.of(processes).list()) {
    const of = appLabels(source, process.spec.app);
    if (of === undefined) continue;
    add('wanted', [...of, process.spec.type], started.has(process.spec.app) ? process.spec.instances : 0);
    add('running', [...of, process.spec.type], ready.get(process.metadata.name) ?? 0);
  }
}

function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

function addInstances(source: FamilySource, add: Add): void {
  // While one generation follows another, two pods have an index: the newer one counts.
  const byInstance = new Map<string, { pod: Stored<Pod>; labels: string[] }>();
  for (const pod of source.informers.of(pods).list()) {
    const of = appLabels(source, pod.metadata.labels?.[labels.app] ?? '');
    const index = pod.metadata.annotations?.[annotations.instanceIndex];
    if (of === undefined || index === undefined) continue;
    const labelValues = [...of, pod.metadata.labels?.[labels.processType] ?? '', index];
    const key = labelValues.join('\n');
    const other = byInstance.get(key);
    if (other === undefined || generationOf(other.pod) <= generationOf(pod))
      byInstance.set(key, { pod, labels: labelValues });
  }
  for (const { pod, labels: of } of byInstance.values()) {
    add('restarts', of, appStatus(pod)?.restartCount ?? 0);
    const one = source.used.get(`${pod.metadata.namespace}/${pod.metadata.name}`);
    if (one === undefined) continue;
    const { sample } = one;
    add('cpu', of, sample.cpuSeconds);
    add('memory', of, sample.memoryBytes);
    add('memoryLimit', of, sample.memoryLimitBytes);
    add('disk', of, sample.diskBytes);
    add('diskLimit', of, sample.diskLimitBytes);
    add('logBytes', of, sample.log?.bytes);
    add('logDropped', of, sample.log?.droppedLines);
  }
}

function generationOf(pod: Pod): number {
  return Number(pod.metadata.labels?.[labels.generation] ?? 0);
}

function addPlatform(source: FamilySource, add: Add): void {
  const router = source.router.status();
  add('routerRoutes', [], router.routes);
  add('routerEndpoints', [], router.endpoints);
  add('routerReloads', [], router.reloads);
  add('routerLost', [], router.lostAccessRecords);
  for (const { spec, status } of source.informers.of(domainCertificates).list()) {
    const of = [spec.hosts.join(' '), spec.source];
    if (status?.notAfter !== undefined) add('certificateExpiry', of, Date.parse(status.notAfter) / 1000);
    add('certificateFailures', of, status?.failures ?? 0);
  }
  add('routerUp', [], router.proxyPid === undefined ? 0 : 1);
  add('busUp', [], source.bus.connected ? 1 : 0);
  for (const { node, at, agent } of source.nodes.values()) {
    add('nodeSeen', [node], at / 1000);
    if (agent === undefined) continue;
    add('roleCpu', ['agent', node], agent.cpuSeconds);
    add('roleMemory', ['agent', node], agent.residentBytes);
    add('roleStart', ['agent', node], agent.startedAt / 1000);
  }
  const { user, system } = process.cpuUsage();
  add('roleCpu', ['platform', ''], (user + system) / 1e6);
  add('roleMemory', ['platform', ''], process.memoryUsage.rss());
  add('roleStart', ['platform', ''], Math.round(performance.timeOrigin) / 1000);
}
