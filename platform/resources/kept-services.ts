/**
 * What a start or a task wrote down of services: the Secret `env-services-<guid of the revision or task>`. `VCAP_SERVICES` is always
 * there; `form` says how the app is told: absent, by that variable, `file`, by a file with the same, `files`, by a file for each fact.
 */
export const KEPT_SERVICES = {
  variable: 'VCAP_SERVICES',
  form: 'form',
  /** JSON: where the files are, by the numbers of their keys. */
  paths: 'paths',
  file: (index: number) => `file-${index}`,
} as const;

export function keptServicesName(guid: string): string {
  return `env-services-${guid}`;
}
