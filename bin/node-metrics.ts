/** What the node's containers use, told on the bus: every ten seconds, and when somebody asks. */
import type { Agent } from '#cluster/node/agent.ts';
import {
  METRICS_EVERY_SECONDS,
  metricsSubject,
  type NodeSample,
  type ProcessUse,
  WAKE_METRICS,
} from '#platform/bus/bus.ts';
import { connectBus } from '#platform/bus/client.ts';
import type { Instance } from './instance.ts';
import type { RoleContext } from './roles/role.ts';
import { waitForRole } from './roles/wait-for-role.ts';
import { busPasswords } from './secrets.ts';

/** However many ask, the containers are not measured more often. */
const LEAST_MILLISECONDS = 500;

export interface NodeMetrics {
  close(): Promise<void>;
}

/** The bus is the platform's: where there is none, a cluster alone for instance, nothing is tried. */
export function startNodeMetrics(
  instance: Instance,
  agent: Pick<Agent, 'measure'>,
  { signal, log }: Pick<RoleContext, 'signal' | 'log'>,
): NodeMetrics {
  let close = async (): Promise<void> => undefined;
  let closed = false;
  waitForRole(instance, 'platform', signal).then(
    () => {
      if (!closed) close = publish(instance, agent, log);
    },
    () => undefined, // the agent ends
  );
  return {
    async close() {
      closed = true;
      await close();
    },
  };
}

function publish(instance: Instance, agent: Pick<Agent, 'measure'>, log: RoleContext['log']): () => Promise<void> {
  const { agent: password } = busPasswords(instance);
  const bus = connectBus({ port: instance.ports.bus, role: 'agent', password, log });
  let measured = 0;
  let scheduled: NodeJS.Timeout | undefined;
  let told = Promise.resolve();
  const tell = async (): Promise<void> => {
    scheduled = undefined;
    measured = Date.now();
    const containers = await agent.measure();
    const sample: NodeSample = { node: instance.nodeName, at: Date.now(), containers, agent: ownUse() };
    bus.publish(metricsSubject(instance.nodeName), sample);
  };
  const soon = (): void => {
    if (!bus.connected) return;
    scheduled ??= setTimeout(
      () => {
        told = told
          .then(tell)
          .catch((error: unknown) =>
            log('warn', 'What the containers use could not be measured', { error: String(error) }),
          );
      },
      Math.max(0, measured + LEAST_MILLISECONDS - Date.now()),
    );
  };
  bus.subscribe(WAKE_METRICS, soon);
  bus.onConnected(soon);
  const timer = setInterval(soon, METRICS_EVERY_SECONDS * 1000);
  timer.unref();
  return async () => {
    clearInterval(timer);
    clearTimeout(scheduled);
    await told;
    await bus.close();
  };
}

function ownUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    startedAt: Math.round(performance.timeOrigin),
  };
}
