/** How far deployments are, as their status says it. */
import type { AppDeployment } from './types.ts';

type Told = Pick<AppDeployment, 'status'>;

/** One without a status was made a moment ago. */
export function deploymentValue({ status }: Told): NonNullable<AppDeployment['status']>['value'] {
  return status?.value ?? 'ACTIVE';
}

export function isActive(deployment: Told): boolean {
  return deploymentValue(deployment) === 'ACTIVE';
}
