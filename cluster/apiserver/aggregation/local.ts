/**
 * APIServices of what is served here: one for each group and version, as upstream has them. Those of built-in kinds are put right at
 * each start, those of custom resources come and go with their definitions. metrics.k8s.io has none, so that another server of it can be
 * registered, which then takes its place.
 */
import { X509Certificate } from 'node:crypto';
import { coalesced } from '#lib/coalesced.ts';
import type { ApiObject } from '../../kinds/kind.ts';
import { apiServices, configMaps, customResourceDefinitions, roles } from '../../kinds/resources.ts';
import { OWN_WRITE, put } from '../bootstrap.ts';
import { kindPrefix, objectKey } from '../cache.ts';
import type { Core } from '../core.ts';
import { createObject } from '../create.ts';
import { deleteObject } from '../delete.ts';
import { StatusError } from '../errors.ts';
import type { FrontProxy } from './aggregation.ts';
import { isBuiltin, prioritiesOf } from './priorities.ts';

/** Upstream's label; `true` is of custom resources, `onstart` of what is built in. */
const MANAGED = 'kube-aggregator.kubernetes.io/automanaged';

export async function createLocalApiServices(core: Core): Promise<void> {
  await sync(core);
  const follow = coalesced(() => sync(core));
  core.cache.resource(kindPrefix(customResourceDefinitions)).listeners.add(() => {
    follow().catch((error: unknown) => {
      core.log('warn', 'the APIServices of custom resources could not be written', { error: String(error) });
    });
  });
}

async function sync(core: Core): Promise<void> {
  const kind = core.registry.find(apiServices.group, apiServices.version, apiServices.resource);
  if (kind === undefined) return;
  const { objects } = core.cache.resource(kindPrefix(kind));
  const wanted = new Map(servedHere(core).map((one) => [one.metadata.name ?? '', one]));
  const work: Promise<unknown>[] = [];
  for (const [name, object] of wanted)
    if (!objects.has(objectKey(kind, '', name))) work.push(orOthers(createObject(core, kind, '', object, OWN_WRITE)));
  for (const object of objects.values())
    if (object.labels?.[MANAGED] !== undefined && !wanted.has(object.name))
      work.push(orOthers(deleteObject(core, kind, object, {}, { dryRun: false })));
  await Promise.all(work);
}

function servedHere(core: Core): ApiObject[] {
  const served = new Map<string, ApiObject>();
  for (const { group, version, computed } of core.registry.all()) {
    const name = `${version}.${group}`;
    if (computed === true || group === apiServices.group || served.has(name)) continue;
    const priorities = prioritiesOf(group, version);
    served.set(name, {
      apiVersion: `${apiServices.group}/${apiServices.version}`,
      kind: apiServices.kind,
      metadata: { name, labels: { [MANAGED]: isBuiltin(group) ? 'onstart' : 'true' } },
      spec: {
        ...(group === '' ? {} : { group }),
        version,
        groupPriorityMinimum: priorities.group,
        versionPriority: priorities.version,
      },
    });
  }
  return [...served.values()];
}

/** Somebody was faster. */
async function orOthers(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof StatusError && (error.reason === 'AlreadyExists' || error.reason === 'NotFound')))
      throw error;
  }
}

/** What servers behind this one must know to believe who it says asks (upstream's ConfigMap, and the Role to read it). */
export async function createAuthenticationConfig(
  core: Core,
  clientCa: string,
  frontProxy: FrontProxy | undefined,
): Promise<void> {
  const namespace = 'kube-system';
  const name = 'extension-apiserver-authentication';
  const proxy = frontProxy && {
    'requestheader-allowed-names': JSON.stringify([subjectName(frontProxy.certificate)]),
    'requestheader-client-ca-file': frontProxy.ca,
    'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
    'requestheader-group-headers': '["X-Remote-Group"]',
    'requestheader-username-headers': '["X-Remote-User"]',
  };
  await put(core, configMaps, { metadata: { name, namespace }, data: { 'client-ca-file': clientCa, ...proxy } });
  await put(core, roles, {
    metadata: { name: `${name}-reader`, namespace },
    rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: [name], verbs: ['get', 'list', 'watch'] }],
  });
}

function subjectName(certificate: string): string {
  return /^CN=(.+)$/m.exec(new X509Certificate(certificate).subject)?.[1] ?? '';
}
