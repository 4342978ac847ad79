/** The cluster's server: the store, the Kubernetes API, the controllers and the scheduler. */
import { existsSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { openAuditLog } from '#cluster/apiserver/audit/log.ts';
import { BUILTIN_POLICY, readAuditPolicy } from '#cluster/apiserver/audit/policy.ts';
import { openServiceAccountKeys } from '#cluster/apiserver/authenticators/service-account-keys.ts';
import type { OidcOptions } from '#cluster/apiserver/authenticators/oidc.ts';
import { startApiServer } from '#cluster/apiserver/server.ts';
import { createClient } from '#cluster/client/create.ts';
import { leadWith } from '#cluster/client/leader-election.ts';
import { allControllers } from '#cluster/controllers/all.ts';
import { startControllers } from '#cluster/controllers/run.ts';
import { clusterDnsAddress } from '#cluster/network/dns/dns.ts';
import { startScheduler } from '#cluster/scheduler/start.ts';
import { encryptedStore } from '#cluster/store/encrypted.ts';
import { finishKeyRotation } from '#cluster/store/key-rotation.ts';
import { POSTGRES_ROLE } from '#platform/postgres/access.ts';
import { CLUSTER_ROLES, tokenFacts } from '#platform/tenants/tenants.ts';
import { auditPolicyFile, keptOidc } from '../api-flags.ts';
import { frontProxyOf, podGateway, RESERVED_SUBJECTS, readAuthority, readCa, readPair } from '../certificates.ts';
import { encryptionFor, encryptionKeysFile, serviceAccountKeysDirectory } from '../cluster-keys.ts';
import { endpoints } from '../endpoints.ts';
import type { Instance } from '../instance.ts';
import { onReload } from '../reload.ts';
import { openInstanceStore } from '../store/open.ts';
import type { RoleContext, RunningRole } from './role.ts';

/** Never changes: tokens carry it. */
const SERVICE_ACCOUNT_ISSUER = 'https://kubernetes.default.svc.cluster.local';

/** A node that is called as one of them would get its certificate. */
const servingCertificates = ['kubernetes', 'registry', 'router'] as const;

export async function startServer({ instance, signal, log }: RoleContext): Promise<RunningRole> {
  const directory = join(instance.dataDirectory, 'cluster');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const disk = await openInstanceStore(instance, log);
  const encryption = encryptionFor([]);
  const rotate = (): Promise<number> => finishKeyRotation(disk, encryption, encryptionKeysFile(instance));
  const rewritten = await rotate();
  if (rewritten > 0) log('info', 'values were encrypted with the newest key', { values: rewritten });
  const store = encryptedStore(disk, encryption);
  // Of the administrator's own making, where there is one.
  const policyPath = auditPolicyFile(instance.dataDirectory);
  const audit = {
    policy: existsSync(policyPath) ? await readAuditPolicy(policyPath) : BUILTIN_POLICY,
    log: await openAuditLog({ path: join(directory, 'audit.log'), log }),
  };
  const ca = readCa(instance);
  const keys = await openServiceAccountKeys(serviceAccountKeysDirectory(instance));
  const api = await startApiServer({
    store,
    host: '0.0.0.0',
    port: instance.ports.kubernetes,
    tls: { ...readPair(instance, 'kubernetes'), clientCa: ca },
    agentClient: { ...readPair(instance, 'apiserver-client'), ca },
    frontProxy: await frontProxyOf(instance),
    serviceCidr: instance.network.serviceCidr,
    ...(instance.network.ipv6 && { serviceCidr6: instance.network.ipv6.serviceCidr }),
    advertiseAddress: podGateway(instance),
    serviceAccounts: { issuer: SERVICE_ACCOUNT_ISSUER, keys },
    oidc: [keptOidc(instance.dataDirectory) ?? [], usersOfThePlatform(instance)].flat(),
    clusterRoles: [...CLUSTER_ROLES, POSTGRES_ROLE],
    taintNewNodes: true,
    protectStorage: true,
    audit,
    // Without its store a server can only lie: it ends, and is started anew.
    onFailure: (error) => {
      log('error', 'the store failed', { error: String(error) });
      process.exit(1);
    },
    log,
  });
  // One client for all that runs here: one copy of what they watch.
  const client = createClient(api.transport({ name: 'system:kube-controller-manager', groups: ['system:masters'] }));
  const { clusterCidr, podCidr, serviceCidr, ipv6, loadBalancerPool = [] } = instance.network;
  // Killed and started again it is the same one, and goes on with what it held.
  const election = { client, identity: `${hostname()}_${instance.name}`, signal, log };
  const controllers = leadWith({ ...election, name: 'kube-controller-manager' }, (leading) =>
    startControllers(
      allControllers({
        tokens: { sign: keys.sign, ca },
        loadBalancerPool,
        clusterDns: clusterDnsAddress(serviceCidr),
        nodeRanges: {
          clusterCidr,
          ...(ipv6 && { clusterCidr6: ipv6.clusterCidr }),
          reserved: [{ node: instance.nodeName, range: podCidr }],
        },
        certificates: {
          authority: readAuthority(instance),
          reserved: RESERVED_SUBJECTS,
          serverCertificates: servingCertificates.map((name) => readPair(instance, name).certificate),
        },
      }),
      { client, signal: leading, log, now: Date.now },
    ),
  );
  const scheduler = leadWith({ ...election, name: 'kube-scheduler' }, (leading) =>
    startScheduler({ client, signal: leading, log }),
  );
  for (const { ended } of [controllers, scheduler]) {
    ended.catch((error: unknown) => {
      // Without its controllers a cluster stands still: the server is started anew.
      log('error', 'a part of the server failed', { error: String(error) });
      process.exit(1);
    });
  }
  const stopReloading = onReload(instance, async () => {
    await keys.reload();
    return `${await rotate()} values were written anew`;
  });
  return {
    async close() {
      stopReloading();
      await scheduler.close();
      await controllers.close();
      await api.close();
      await audit.log.close();
      await store.close();
    },
  };
}

/** Whoever is logged in with `cf` or `sampan` is somebody here too; their keys are asked for when the first of them comes. */
function usersOfThePlatform(instance: Instance): OidcOptions {
  return {
    ...tokenFacts,
    issuer: `${endpoints(instance).uaa}/oauth/token`,
    keysUrl: `http://127.0.0.1:${instance.ports.uaa}/token_keys`,
  };
}
