/** The platform: router driver, UAA, cloud controller, workloads, staging and logs, on the Kubernetes API alone. */
import { createServer } from 'node:http';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { machineAuthorities } from '#lib/authorities.ts';
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { openCertificates } from '#platform/certificates/open.ts';
import { startCloudController } from '#platform/cloud-controller/start.ts';
import { openBusServer } from '#platform/bus/server.ts';
import { createLogCache } from '#platform/logs/log-cache.ts';
import { openLogs } from '#platform/logs/open.ts';
import { forwardRequests } from '#platform/logs/router-lines.ts';
import { openMetrics } from '#platform/metrics/open.ts';
import { startNetwork } from '#platform/network/start.ts';
import { openDrains } from '#platform/drains/open.ts';
import { installResources } from '#platform/resources/definitions.ts';
import { createInformers } from '#platform/resources/informers.ts';
import { startRouteController } from '#platform/router/controller.ts';
import { ensureIngressClass } from '#platform/router/ingress/default-class.ts';
import type { Router } from '#platform/router/model.ts';
import { openRouter } from '#platform/router/open.ts';
import { sourceAddress } from '#lib/source-address.ts';
import { openHostKey } from '#platform/ssh/host-key.ts';
import { startSshProxy } from '#platform/ssh/start.ts';
import { createEngineBuilder } from '#platform/staging/dockerfiles/engine-builder.ts';
import { startStaging } from '#platform/staging/start.ts';
import { buildHosts } from '#platform/staging/builds/host-environment.ts';
import { startTenants } from '#platform/tenants/start.ts';
import { startUaa } from '#platform/uaa/start.ts';
import { startWorkloads } from '#platform/workloads/start.ts';
import { firstAddress, readCa, readPair, signForRouter } from '../certificates.ts';
import { endpoints } from '../endpoints.ts';
import { registryHost } from '../engine-options.ts';
import type { Instance } from '../instance.ts';
import { keptRouter } from '../router-flags.ts';
import { tcpPorts } from '../tcp-ports.ts';
import { busDirectory, busPasswords, ensureSecrets } from '../secrets.ts';
import { platformGuard } from '../platform-guard.ts';
import { version } from '../version.ts';
import { openPostgres, ownBroker } from './postgres.ts';
import type { RoleContext, RunningRole } from './role.ts';
import { waitForRole } from './wait-for-role.ts';

/** Below the domain; no app can have them. */
const systemHosts = ['api', 'uaa', 'login', 'log-cache'];

export async function startPlatform({ instance, signal, log }: RoleContext): Promise<RunningRole> {
  // The router first: it needs nobody, and apps are reached through it.
  const router = await openInstanceRouter(instance, log);
  await waitForRole(instance, 'server', signal);
  const ca = readCa(instance);
  const client = createClient(
    httpsTransport({ url: `https://127.0.0.1:${instance.ports.kubernetes}`, ca, ...readPair(instance, 'platform') }),
  );
  await installResources(client, { signal });
  const informers = createInformers(client, {
    onError: (error) => log('warn', 'an informer lost its connection', { error: String(error) }),
  });
  const { api, uaa: uaaUrl } = endpoints(instance);
  const urls = {
    api,
    uaa: uaaUrl,
    login: uaaUrl.replace('//uaa.', '//login.'),
    logCache: uaaUrl.replace('//uaa.', '//log-cache.'),
  };

  const bus = await openBusServer({
    instance: instance.name,
    dataDirectory: busDirectory(instance),
    port: instance.ports.bus,
    passwords: busPasswords(instance),
    log,
  });
  const logs = await openLogs({ informers, signal, log });
  await ensureIngressClass(client);
  const ownHosts = systemHosts.map((host) => `${host}.${instance.domain}`);
  const certificates = openCertificates({
    informers,
    domain: instance.domain,
    systemHosts: ownHosts,
    acme: keptRouter(instance.dataDirectory).acme,
    own: (hosts) => signForRouter(instance, hosts),
    signal,
    log,
  });
  const guard = platformGuard(instance, informers);
  const routes = await startRouteController({
    informers,
    router,
    systemHosts: ownHosts,
    certificates,
    address: await sourceAddress(),
    guard,
    signal,
    log,
  });
  const { applicationOf, routeOf } = routes;
  const metrics = openMetrics({ informers, bus: bus.bus, router, applicationOf, routeOf });
  const hostKey = await openHostKey(client);
  const [uaa, staging] = await Promise.all([
    startUaa({ client, urls, dataDirectory: instance.dataDirectory, port: instance.ports.uaa, log }),
    startStaging({
      client,
      logs,
      registry: {
        host: registryHost(instance),
        ca,
        username: 'platform',
        password: ensureSecrets(instance).registry.platform,
      },
      dataDirectory: join(instance.dataDirectory, 'platform'),
      guard,
      dockerfiles: createEngineBuilder({
        socketPath: join(instance.runDirectory, 'docker.sock'),
        node: instance.nodeName,
        login: { username: 'platform', password: ensureSecrets(instance).registry.platform },
      }),
      log,
      signal,
    }),
  ]);
  const postgres = await openPostgres(instance, client, log);
  const cloudController = await startCloudController({
    informers,
    tokens: uaa.tokens,
    staging,
    brokers: {
      guard,
      router: { http: instance.ports.http, https: instance.ports.https, ca },
      own: postgres ? [ownBroker(postgres)] : [],
    },
    logs,
    metrics,
    domain: instance.domain,
    urls,
    tcpPorts: () => router.ports().tcp,
    ssh: { endpoint: `ssh.${instance.domain}:${instance.ports.ssh}`, fingerprint: hostKey.fingerprint },
    dataDirectory: join(instance.dataDirectory, 'platform'),
    port: instance.ports.platform,
    version,
    log,
  });
  const ssh = await startSshProxy({
    client,
    redeem: (code) => uaa.redeem(code),
    access: cloudController.sshAccess,
    hostKey,
    port: instance.ports.ssh,
    log,
  }).catch((error: NodeJS.ErrnoException) => {
    // Somebody else's port is no reason to have no platform.
    if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') throw error;
    log('error', 'cf ssh is not served: choose another port with sampan up --ssh', { error: error.message });
    return undefined;
  });
  const workloads = await startWorkloads({ informers, logs, apiUrl: urls.api, log });
  const network = startNetwork({
    informers,
    own: [instance.network.clusterCidr, instance.network.serviceCidr],
    hostAddresses: hostAddresses(instance),
    routerPorts: [instance.ports.http, instance.ports.https, ...router.ports().tcp],
    buildHosts: buildHosts(),
    log,
  });
  const tenants = await startTenants({ informers, log });
  const drains = await openDrains({ informers, logs, guard, log });
  const stopForwarding = forwardRequests(router, logs, applicationOf);
  const logCache = createServer(
    createLogCache({
      logs,
      metrics,
      authorize: (token, source) => cloudController.readsLogs(`bearer ${token}`, source),
      log,
    }),
  );
  await new Promise<void>((done) => logCache.listen(instance.ports.logCache, '127.0.0.1', done));
  prepareBuilds(staging, instance, log);

  return {
    async close() {
      stopForwarding();
      await drains.close();
      logCache.closeAllConnections();
      logCache.close();
      await Promise.all([
        ssh?.close(),
        network.close(),
        routes.close(),
        certificates.close(),
        tenants.close(),
        workloads.close(),
        cloudController.close(),
        uaa.close(),
        postgres?.close(),
        staging.close(),
      ]);
      metrics.close();
      await bus.close();
      await logs.close();
      await router.close();
    },
  };
}

/** All that this host answers at: nobody is let in by a rule for the internet. */
function hostAddresses(instance: Instance): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const own = all.filter(({ family, internal }) => family === 'IPv4' && !internal).map(({ address }) => address);
  return [...new Set([firstAddress(instance.network.podCidr), ...own])];
}

function openInstanceRouter(instance: Instance, log: RoleContext['log']): Promise<Router> {
  const { certificate, key } = readPair(instance, 'router');
  const { tls, serviceTls } = keptRouter(instance.dataDirectory);
  const local = (host: string, port: number) => ({ host: `${host}.${instance.domain}`, address: '127.0.0.1', port });
  return openRouter({
    instance: instance.name,
    dataDirectory: join(instance.dataDirectory, 'router'),
    runDirectory: join(instance.runDirectory, 'router'),
    listen: { http: instance.ports.http, https: instance.ports.https, tcp: tcpPorts(instance) },
    certificate: `${certificate}${key}`,
    ...(tls && { tls }),
    serviceTls: { authorities: trusted(readCa(instance)), verify: serviceTls?.verify ?? true },
    system: [
      local('api', instance.ports.platform),
      local('uaa', instance.ports.uaa),
      local('login', instance.ports.uaa),
      local('log-cache', instance.ports.logCache),
    ],
    log,
  });
}

/** What this host trusts, and the instance's own authority, for services that are apps here. */
function trusted(own: string): string {
  return [...machineAuthorities(), own].join('\n');
}

/** The stack is made as soon as there is a platform: who pushes first waits less. A failure is said again by the first build. */
function prepareBuilds(
  staging: { prepare(onProgress?: (message: string) => void): Promise<void> },
  instance: Instance,
  log: RoleContext['log'],
): void {
  waitForRole(instance, 'agent', AbortSignal.timeout(120_000))
    .then(() => staging.prepare((message) => log('info', message)))
    .catch((error: unknown) =>
      log('warn', 'the base stack is not ready yet; the next build tries again', { error: String(error) }),
    );
}
