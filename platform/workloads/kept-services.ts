/**
 * What a pod is told of services, as `VCAP_SERVICES` or as files. What a start wrote down counts, not what is bound while the pod is
 * made: that may be much later (a process that had no instances), and a Secret that nobody wrote would be waited for for ever. Once
 * written it stays as long as its revision or task.
 */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Container, EnvVar, PodSpec } from '#cluster/kinds/types/core.ts';
import { secrets } from '../resources/kubernetes.ts';
import { KEPT_SERVICES, keptServicesName } from '../resources/kept-services.ts';
import { secretTexts } from '../resources/secrets.ts';
import type { Revision, Task } from '../resources/types.ts';
import type { WorkloadContext } from './workloads.ts';

const VARIABLE = KEPT_SERVICES.variable;
const DIRECTORY = '/etc/cf-service-bindings';
const VOLUME = 'services';

export interface KeptServices {
  /** Of the Secret; absent: there is none. */
  secret?: string;
  /** Files of its keys, below the directory; absent: it is a variable. */
  files?: { key: string; path: string }[];
  /** Says where the files are. */
  variable?: EnvVar;
}

export async function readKeptServices(
  { informers }: Pick<WorkloadContext, 'informers'>,
  { metadata: { name, namespace = '' } }: Stored<Revision> | Stored<Task>,
): Promise<KeptServices> {
  const secret = keptServicesName(name);
  const stored = await orUndefined(informers.client.get(secrets, secret, namespace));
  if (stored === undefined) return {};
  const { [KEPT_SERVICES.form]: form, [KEPT_SERVICES.paths]: paths = '[]' } = secretTexts(stored);
  if (form === 'file') {
    const path = 'vcap_services';
    const variable = { name: 'VCAP_SERVICES_FILE_PATH', value: `${DIRECTORY}/${path}` };
    return { secret, variable, files: [{ key: VARIABLE, path }] };
  }
  if (form !== 'files') return { secret };
  const files = (JSON.parse(paths) as string[]).map((path, index) => ({ key: KEPT_SERVICES.file(index), path }));
  return { secret, variable: { name: 'SERVICE_BINDING_ROOT', value: DIRECTORY }, files };
}

export function servicesVariable({ secret, variable }: KeptServices): EnvVar {
  if (variable !== undefined) return variable;
  if (secret === undefined) return { name: VARIABLE, value: '{}' };
  return { name: VARIABLE, valueFrom: { secretKeyRef: { name: secret, key: VARIABLE } } };
}

/** Of a pod that has files of its services. */
export function servicesVolume({ secret, files }: KeptServices): Pick<PodSpec, 'volumes'> {
  if (secret === undefined || files === undefined) return {};
  return { volumes: [{ name: VOLUME, secret: { secretName: secret, items: files } }] };
}

/** Of each of its containers. */
export function servicesMount({ secret, files }: KeptServices): Pick<Container, 'volumeMounts'> {
  if (secret === undefined || files === undefined) return {};
  return { volumeMounts: [{ name: VOLUME, mountPath: DIRECTORY, readOnly: true }] };
}
