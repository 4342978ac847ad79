/**
 * Gives a pod its service account: the account's token, the cluster's CA and the namespace as files, and the account's pull
 * secrets (Kubernetes "Managing Service Accounts", ServiceAccount admission controller).
 */
import { randomBytes } from 'node:crypto';
import { pods, serviceAccounts } from '../../kinds/resources.ts';
import type { Container, Pod, PodSpec, ServiceAccount, Volume } from '../../kinds/types/core.ts';
import { kindPrefix } from '../cache.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { find, keyOf } from './lookup.ts';
import { type AdmissionPlugin, type AdmissionRequest, isKind } from './plugin.ts';

const DEFAULT_NAME = 'default';
const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
const VOLUME_PREFIX = 'kube-api-access-';
const TOKEN_SECONDS = 3607;
const MIRROR = 'kubernetes.io/config.mirror';
const MOUNTABLE_ONLY = 'kubernetes.io/enforce-mountable-secrets';
/** The account of a namespace that was just made comes at once: a pod made in the same breath waits for it. */
const PATIENCE = 2_000;

export function serviceAccount(core: Core): AdmissionPlugin {
  return {
    name: 'ServiceAccount',
    async mutate(request) {
      if (request.operation !== 'CREATE' || !isKind(request, pods)) return;
      const { spec, metadata } = request.object as Pod;
      if (spec === undefined || metadata.annotations?.[MIRROR] !== undefined) return;
      spec.serviceAccountName ||= DEFAULT_NAME;
      spec.serviceAccount = spec.serviceAccountName;
      const account = await accountOf(core, request, spec.serviceAccountName);
      if (account.metadata.annotations?.[MOUNTABLE_ONLY] === 'true') checkMountable(request, spec, account);
      if (spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) mountToken(spec);
      if ((spec.imagePullSecrets ?? []).length === 0 && account.imagePullSecrets !== undefined)
        spec.imagePullSecrets = structuredClone(account.imagePullSecrets);
    },
  };
}

async function accountOf(core: Core, request: AdmissionRequest, name: string): Promise<ServiceAccount> {
  const { namespace } = request;
  const account = find(core, serviceAccounts, namespace, name);
  if (account !== undefined) return account;
  if (name === DEFAULT_NAME) await appears(core, keyOf(serviceAccounts, namespace, name));
  const later = find(core, serviceAccounts, namespace, name);
  if (later !== undefined) return later;
  throw forbidden(
    request.kind,
    request.name,
    `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`,
  );
}

/** Resolves when it is there, or has not come. */
function appears(core: Core, key: string): Promise<void> {
  const { listeners } = core.cache.resource(kindPrefix(serviceAccounts));
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      listeners.delete(listener);
      resolve();
    };
    const listener = ({ object }: { object: { key: string } }) => {
      if (object.key === key) end();
    };
    const timer = setTimeout(end, PATIENCE);
    listeners.add(listener);
  });
}

function mountToken(spec: PodSpec): void {
  const without = [...(spec.initContainers ?? []), ...(spec.containers ?? [])].filter(
    (container) => !hasMount(container),
  );
  if (without.length === 0) return;
  let volume = spec.volumes?.find(({ name }) => name.startsWith(VOLUME_PREFIX));
  if (volume === undefined) {
    volume = tokenVolume();
    spec.volumes = [...(spec.volumes ?? []), volume];
  }
  for (const container of without)
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name: volume.name, readOnly: true, mountPath: MOUNT_PATH },
    ];
}

function hasMount({ volumeMounts }: Container): boolean {
  return volumeMounts?.some(({ mountPath }) => mountPath === MOUNT_PATH) === true;
}

function tokenVolume(): Volume {
  return {
    name: `${VOLUME_PREFIX}${randomBytes(4).toString('hex').slice(0, 5)}`,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_SECONDS } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
    },
  };
}

function checkMountable(request: AdmissionRequest, spec: PodSpec, account: ServiceAccount): void {
  const own = new Set((account.secrets ?? []).map(({ name }) => name));
  const name = account.metadata.name ?? '';
  const refuse = (what: string) =>
    forbidden(
      request.kind,
      request.name,
      `${what} is not allowed because service account ${name} does not reference that secret`,
    );
  for (const { name: volume, secret } of spec.volumes ?? [])
    if (secret !== undefined && !own.has(secret.secretName))
      throw refuse(`volume with secret.secretName="${secret.secretName ?? volume}"`);
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])])
    for (const { valueFrom, name: variable } of container.env ?? []) {
      const secret = valueFrom?.secretKeyRef?.name;
      if (secret !== undefined && !own.has(secret))
        throw refuse(`container ${container.name} with envVar ${variable} referencing secret.secretName="${secret}"`);
    }
}
