/** Feature flags: what users may do that are no administrators, as administrators have set it. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { FeatureFlag } from '../resources/types.ts';
import type { Identity } from '../uaa/uaa.ts';
import { CloudFoundryError } from './errors.ts';
import type { Records } from './records.ts';

/** What they are until somebody changes them. */
const DEFAULTS = {
  app_bits_upload: true,
  app_scaling: true,
  diego_docker: true,
  env_var_visibility: true,
  hash_based_routing: true,
  hide_marketplace_from_unauthenticated_users: true,
  private_domain_creation: true,
  resource_matching: true,
  route_creation: true,
  route_sharing: false,
  service_instance_creation: true,
  service_instance_sharing: false,
  set_roles_by_username: true,
  space_developer_env_var_visibility: true,
  space_scoped_private_broker_creation: false,
  task_creation: true,
  unset_roles_by_username: true,
  user_org_creation: false,
};

export type FlagName = keyof typeof DEFAULTS;

export const flagNames = Object.keys(DEFAULTS) as FlagName[];

export class Flags {
  readonly #records: Records;

  constructor(records: Records) {
    this.#records = records;
  }

  stored(name: FlagName): Stored<FeatureFlag> | undefined {
    return this.#records.featureFlags.get(objectName(name));
  }

  isOn(name: FlagName): boolean {
    return this.stored(name)?.spec.enabled ?? DEFAULTS[name];
  }

  /** Throws where it is off, for everybody but administrators. */
  require(identity: Identity, name: FlagName): void {
    if (identity.admin || this.isOn(name)) return;
    throw new CloudFoundryError(
      'FeatureDisabled',
      `Feature Disabled: ${this.stored(name)?.spec.customErrorMessage ?? name}`,
    );
  }

  async set(name: FlagName, change: { enabled?: boolean; customErrorMessage?: string | null }): Promise<void> {
    const { featureFlags } = this.#records;
    const changed = (old: FeatureFlag['spec'] | undefined): FeatureFlag['spec'] => {
      const message = change.customErrorMessage === undefined ? old?.customErrorMessage : change.customErrorMessage;
      return {
        enabled: change.enabled ?? old?.enabled ?? this.isOn(name),
        ...(message === undefined || message === null ? {} : { customErrorMessage: message }),
      };
    };
    if (this.stored(name)) {
      await featureFlags.modify(objectName(name), (current) => ({ ...current, spec: changed(current.spec) }));
    } else await featureFlags.create({ metadata: { name: objectName(name) }, spec: changed(undefined) });
  }
}

/** Names of objects have no underscores. */
function objectName(name: FlagName): string {
  return name.replaceAll('_', '-');
}
