/** The cluster's server: the store, the Kubernetes API, the controllers and the scheduler. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startApiServer } from '#cluster/apiserver/server.ts';
import { createClient } from '#cluster/client/create.ts';
import { allControllers } from '#cluster/controllers/all.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import { startScheduler } from '#cluster/scheduler/start.ts';
import { openSqliteStore } from '#cluster/store/sqlite/open.ts';
import { readCa, readPair } from '../certificates.ts';
import type { RoleContext, RunningRole } from './role.ts';

export async function startServer({ instance, signal, log }: RoleContext): Promise<RunningRole> {
  const directory = join(instance.dataDirectory, 'cluster');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const store = await openSqliteStore({ path: join(directory, 'store.db'), log });
  const ca = readCa(instance);
  const api = await startApiServer({
    store,
    host: '0.0.0.0',
    port: instance.ports.kubernetes,
    tls: { ...readPair(instance, 'kubernetes'), clientCa: ca },
    agentClient: { ...readPair(instance, 'apiserver-client'), ca },
    serviceCidr: instance.network.serviceCidr,
    // Without its store a server can only lie: it ends, and is started anew.
    onFailure: (error) => {
      log('error', 'the store failed', { error: String(error) });
      process.exit(1);
    },
    log,
  });
  // One client for all that runs here: one copy of what they watch.
  const client = createClient(api.transport({ name: 'system:kube-controller-manager', groups: ['system:masters'] }));
  const controllers = await startControllers(allControllers(), { client, signal, log, now: Date.now });
  const scheduler = await startScheduler({ client, signal, log });
  return {
    async close() {
      await scheduler.close();
      await controllers.close();
      await api.close();
      await store.close();
    },
  };
}
